//! The glossary holds: what is public has its words, what it names is there, and a type's name has one meaning.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use serde_json::Value;

/// Folders of Rust whose types are looked at.
const SOURCES: [&str; 3] = ["src", "workers/src", "bench/src"];
/// What declares a type.
const DECLARES: [&str; 5] = ["struct ", "enum ", "union ", "trait ", "type "];

#[test]
fn a_name_of_a_type_has_one_meaning_unless_the_glossary_says_why() {
    let shared = rows("| name | where | why |");
    let mut wrong = Vec::new();
    let mut defined: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (file, text) in SOURCES.iter().flat_map(|folder| files(folder, "rs")) {
        for name in types(&text) {
            defined.entry(name).or_default().push(file.clone());
        }
    }
    assert!(defined.contains_key("Deduplicator") && defined.len() > 300, "types are not found");
    defined.retain(|_, files| files.len() > 1);
    for (name, files) in &defined {
        let row = shared.iter().find(|row| codes(&row[0]).contains(name));
        let allowed = row.map(|row| codes(&row[1])).unwrap_or_default();
        let others: Vec<_> = files
            .iter()
            .filter(|file| !allowed.iter().any(|folder| file.starts_with(folder.as_str())))
            .collect();
        if !others.is_empty() {
            wrong.push(format!(
                "{name} is the name of {} types, of which {others:?} are not listed",
                files.len()
            ));
        }
    }
    let listed = shared.iter().flat_map(|row| codes(&row[0]));
    wrong.extend(
        listed
            .filter(|name| !defined.contains_key(name))
            .map(|name| format!("{name} is listed, and has one type")),
    );
    assert!(wrong.is_empty(), "docs/glossary.md and types differ:\n{}", wrong.join("\n"));
}

#[test]
fn public_names_have_the_words_of_the_glossary() {
    let words = words();
    let own: BTreeSet<&str> = words.iter().flat_map(|row| row[0].split(", ")).collect();
    let mut avoided: Vec<(Vec<String>, &str)> = Vec::new();
    for row in &words {
        for word in row[3].split(", ").filter(|word| !word.is_empty()) {
            // A word of the glossary, and one with another meaning in parentheses, are avoided in their row alone.
            if !own.contains(word) && !own.contains(word.trim_end_matches('s')) && !word.contains('(') {
                avoided.push((parts(word), &row[0]));
            }
        }
    }
    let exceptions: BTreeSet<String> =
        rows("| name | why it stays |").iter().flat_map(|row| codes(&row[0])).collect();
    let names = public_names();
    assert!(
        ["user_id", "WEIR_RATE_LIMIT", "user_no", "dead_letters"].iter().all(|name| names.contains(*name))
    );
    let mut wrong = BTreeSet::new();
    let mut excepted = BTreeSet::new();
    for name in &names {
        let parts = parts(name);
        for (word, instead) in &avoided {
            let is_word = |part: &str, word: &str| part == word || part.strip_suffix('s') == Some(word);
            let is_here = |some: &[String]| some.iter().zip(word).all(|(part, word)| is_word(part, word));
            if !parts.windows(word.len()).any(is_here) {
                continue;
            }
            if exceptions.contains(name) {
                excepted.insert(name.clone());
            } else {
                wrong.insert(format!(
                    "{name}: the word of docs/glossary.md is '{instead}', not '{}'",
                    word.join(" ")
                ));
            }
        }
    }
    let idle: Vec<_> = exceptions.difference(&excepted).collect();
    assert!(wrong.is_empty(), "{}", wrong.into_iter().collect::<Vec<_>>().join("\n"));
    assert!(idle.is_empty(), "docs/glossary.md lists names that need no exception: {idle:?}");
}

#[test]
fn what_the_glossary_names_is_there() {
    let document: Value = serde_json::from_str(&read("openapi.json")).unwrap();
    let texts = ["src", "workers/src", "sql/schema", "docs", "openapi.json"]
        .iter()
        .flat_map(|place| files(place, ""))
        .filter(|(file, _)| file != "docs/glossary.md")
        .map(|(_, text)| text)
        .collect::<String>();
    let known: BTreeSet<&str> = texts.split(|letter| !is_of_name(letter)).collect();
    let mut wrong = Vec::new();
    for row in words() {
        for code in codes(&row[2]) {
            for name in code.split(|letter| !is_of_name(letter) && letter != '/') {
                let is_there = match name {
                    name if name.starts_with('/') => path_is_there(&document, &code, name),
                    name if ["src/", "workers/", "sql/"].iter().any(|folder| name.starts_with(folder)) => {
                        let path = root().join(name);
                        path.exists() || path.with_extension("rs").exists()
                    }
                    name if name.contains('/') => texts.contains(name),
                    // The beginning of names: `WEIR_MAX_…`, `writer-{lane}`.
                    name if name.ends_with(['_', '-', '.']) => with_namespace(name)
                        .iter()
                        .any(|name| known.iter().any(|other| other.starts_with(name))),
                    name => with_namespace(name).iter().any(|name| known.contains(name)),
                };
                if !is_there {
                    wrong.push(format!("{}: there is no {name}", row[0]));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "docs/glossary.md names what is not there:\n{}", wrong.join("\n"));
}

#[test]
fn types_are_found_and_those_of_traits_and_tests_are_left_out() {
    let text = "pub struct One;\nimpl A for One {\n    type Err = B;\n    fn f() {\n        type Two = u8;\n    }\n}\n\
                enum Three<T> {}\n    pub(super) trait Four {\n        type Item;\n    }\n#[cfg(test)]\nmod tests {\n    \
                struct Five;\n}\ntype Six = u8;\n// struct Seven\n";
    assert_eq!(types(text), ["One", "Two", "Three", "Four", "Six"]);
    assert_eq!(parts("WEIR_MAX_BODY"), ["weir", "max", "body"]);
    assert_eq!(parts("/stats/active-usersByDay"), ["stats", "active", "users", "by", "day"]);
}

/// Every segment of a path, parameter, field and schema of the API; tables and columns; variables; metrics and labels.
fn public_names() -> BTreeSet<String> {
    let document: Value = serde_json::from_str(&read("openapi.json")).unwrap();
    let mut names = BTreeSet::new();
    // Vendors' SDKs call what their vendors named.
    let own = document["paths"].as_object().unwrap().iter().filter(|(path, _)| !path.starts_with("/in/"));
    for (path, operations) in own {
        let is_fixed = |segment: &&str| !segment.is_empty() && !segment.starts_with('{');
        names.extend(path.split('/').filter(is_fixed).map(str::to_owned));
        for operation in operations.as_object().unwrap().values() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            names.extend(parameters.filter_map(|parameter| Some(parameter["name"].as_str()?.to_owned())));
        }
    }
    for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
        names.insert(name.clone());
        names.extend(schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()));
    }
    for (_, schema) in files("sql/schema", "sql") {
        let mut lines = schema.lines();
        while let Some(line) = lines.next() {
            if let Some(table) = line.strip_prefix("CREATE TABLE ") {
                names.insert(table.trim_end_matches(" (").to_owned());
                let columns = lines.by_ref().take_while(|line| !line.starts_with(')'));
                names.extend(columns.filter_map(|line| line.split_whitespace().next()).map(str::to_owned));
            }
        }
    }
    names.remove("CONSTRAINT");
    for page in ["docs/configuration.md", "docs/prometheus.md"] {
        let text = read(page);
        // Of variables the first cell, of metrics also their labels.
        let cells = if page.ends_with("prometheus.md") { vec![1, 4] } else { vec![1] };
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        names.extend(rows.flat_map(|row| {
            let row: Vec<&str> = row.split('|').collect();
            cells.iter().flat_map(|cell| codes(row[*cell])).collect::<Vec<_>>()
        }));
    }
    names
}

/// The words of a name, in small letters.
fn parts(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    let mut last = ' ';
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && last.is_ascii_lowercase() {
            spaced.push(' ');
        }
        spaced.push(if letter.is_alphanumeric() { letter.to_ascii_lowercase() } else { ' ' });
        last = letter;
    }
    spaced.split_whitespace().map(str::to_owned).collect()
}

/// The names of the types of a file, but for those that traits ask for and those that tests make for themselves.
fn types(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut open: Vec<usize> = Vec::new();
    let mut is_test = false;
    for line in text.lines() {
        let code = line.trim_start();
        let indent = line.len() - code.len();
        if open.last() == Some(&indent) && code.starts_with('}') {
            open.pop();
        }
        is_test &= line != "}";
        is_test |= line == "mod tests {";
        let code = code.strip_prefix("pub").map_or(code, |code| {
            let code = code.strip_prefix('(').and_then(|code| Some(code.split_once(')')?.1)).unwrap_or(code);
            code.trim_start()
        });
        let is_of_trait = code.starts_with("type ") && open.iter().any(|of| of + 4 == indent);
        if let Some(name) = DECLARES.iter().find_map(|word| code.strip_prefix(word))
            && name.starts_with(|letter: char| letter.is_ascii_uppercase())
            && !is_of_trait
            && !is_test
        {
            names.push(name.split(|letter: char| !letter.is_alphanumeric()).next().unwrap().to_owned());
        }
        if (code.starts_with("impl") || code.starts_with("trait ")) && !code.ends_with('}') {
            open.push(indent);
        }
    }
    names
}

/// Whether the API has a path, with the method before it if there is one.
fn path_is_there(document: &Value, code: &str, path: &str) -> bool {
    let operations = &document["paths"][path];
    match code.strip_suffix(path) {
        Some(method) if !method.is_empty() => operations[method.trim().to_lowercase()].is_object(),
        // `/stats/…`: a path that begins so is enough.
        _ => operations.is_object(),
    }
}

/// A name as it may stand in a text: whole; after a namespace, or before a number, that stand there in braces.
fn with_namespace(name: &str) -> [&str; 3] {
    [
        name,
        name.strip_prefix("weir").unwrap_or(name),
        name.trim_end_matches(|letter: char| letter.is_ascii_digit()),
    ]
}

fn is_of_name(letter: char) -> bool {
    letter.is_alphanumeric() || "_.-+".contains(letter)
}

/// The rows of the glossary's words: word, meaning, where, not.
fn words() -> Vec<Vec<String>> {
    let words = rows("| word | meaning | where | not |");
    assert!(words.len() > 80, "{} words", words.len());
    words
}

/// The rows of all tables of the glossary that begin with this line, by their cells.
fn rows(head: &str) -> Vec<Vec<String>> {
    let text = read("docs/glossary.md").replace("\\|", "\u{0}");
    let mut rows = Vec::new();
    let mut is_inside = false;
    for line in text.lines() {
        if line == head {
            is_inside = true;
        } else if !line.starts_with('|') {
            is_inside = false;
        } else if is_inside && !line.starts_with("|--") {
            let cells = line.trim_matches('|').split('|');
            rows.push(cells.map(|cell| cell.trim().replace('\u{0}', "|")).collect());
        }
    }
    assert!(!rows.is_empty(), "docs/glossary.md has no table {head}");
    rows
}

/// What stands in code in a cell.
fn codes(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The files of a folder and of those in it, or a file, with their texts.
fn files(place: &str, extension: &str) -> Vec<(String, String)> {
    let path = root().join(place);
    if path.is_file() {
        return vec![(place.to_owned(), read(place))];
    }
    let mut names: Vec<String> = fs::read_dir(&path)
        .unwrap()
        .map(|entry| format!("{place}/{}", entry.unwrap().file_name().to_str().unwrap()))
        .collect();
    names.sort();
    let is_wanted = |name: &String| {
        let kind = Path::new(name).extension().and_then(|kind| kind.to_str()).unwrap_or_default();
        let is_text = ["rs", "sql", "md", "lua", "json"].contains(&kind);
        let is_right = if extension.is_empty() { is_text } else { kind == extension };
        root().join(name).is_dir() || (is_right && !name.ends_with("/tests.rs"))
    };
    names.iter().filter(|name| is_wanted(name)).flat_map(|name| files(name, extension)).collect()
}

fn read(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
