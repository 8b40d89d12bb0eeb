//! The documents: their links lead somewhere, and what they list is complete.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::Value;
use weir::ingest::validate::Reason;

/// Bytes of the README: it is read in a sitting, and the rest has pages of its own.
const README: u64 = 8_192;

#[test]
fn every_relative_link_leads_somewhere() {
    let mut wrong = Vec::new();
    for page in pages() {
        for target in links(&read(&page)) {
            if let Err(why) = follow(&page, &target) {
                wrong.push(format!("{}: {target}: {why}", page.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "these links lead nowhere:\n{}", wrong.join("\n"));
}

#[test]
fn the_readme_is_short_and_links_every_page() {
    let readme = root().join("README.md");
    let bytes = fs::metadata(&readme).unwrap().len();
    assert!(bytes <= README, "README.md has {bytes} bytes, expected at most {README}");

    let linked: BTreeSet<String> = links(&read(&readme)).into_iter().collect();
    let is_linked = |page: &PathBuf| {
        let relative = page.strip_prefix(root()).unwrap().to_str().unwrap();
        linked.iter().any(|target| target.split('#').next() == Some(relative))
    };
    let missing: Vec<_> =
        markdown_in(&root().join("docs")).into_iter().filter(|page| !is_linked(page)).collect();
    assert!(missing.is_empty(), "README.md links no {missing:?}");
}

#[test]
fn the_page_on_errors_has_every_code() {
    let page = read(&root().join("docs/errors.md"));
    let document: Value = serde_json::from_str(include_str!("../../../openapi.json")).unwrap();
    let codes = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes = codes.as_array().unwrap().iter().map(|code| format!("| `{}` |", code.as_str().unwrap()));
    let reasons = Reason::ALL.iter().map(|reason| format!("\n| `{}` |", reason.code()));
    let missing: Vec<_> = codes.chain(reasons).filter(|row| !page.contains(row)).collect();
    assert!(missing.is_empty(), "docs/errors.md has no rows {missing:?}");
}

#[test]
fn anchors_are_those_of_github() {
    let text =
        "# What is `complete`?\n\n```sh\n# no heading\n```\n\n## On macOS, Windows\n\n## On macOS, Windows\n";
    let expected = ["what-is-complete", "on-macos-windows", "on-macos-windows-1"];
    assert_eq!(anchors(text), expected.map(str::to_owned).into());
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn pages() -> Vec<PathBuf> {
    [root().to_owned(), root().join("docs")].iter().flat_map(|folder| markdown_in(folder)).collect()
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut pages: Vec<_> = paths.filter(|path| path.extension().is_some_and(|kind| kind == "md")).collect();
    pages.sort();
    assert!(!pages.is_empty(), "there is no document in {}", folder.display());
    pages
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The targets of a page's links within the repository.
fn links(text: &str) -> Vec<String> {
    let mut targets = Vec::new();
    for line in prose(text) {
        // What stands in code links nothing. A link's text may have code.
        let without_code: String = line.split('`').step_by(2).collect();
        for link in without_code.split("](").skip(1) {
            let target = link.split(')').next().unwrap_or_default();
            if !target.contains("://") && !target.starts_with("mailto:") {
                targets.push(target.to_owned());
            }
        }
    }
    targets
}

/// Whether a file is where a page's link leads, and has the heading that it names.
fn follow(page: &Path, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let file = if path.is_empty() { page.to_owned() } else { page.parent().unwrap().join(path) };
    let file = file.canonicalize().map_err(|error| error.to_string())?;
    if !file.starts_with(root().canonicalize().unwrap()) {
        return Err("it is outside of the repository".into());
    }
    match anchor {
        Some(anchor) if !anchors(&read(&file)).contains(anchor) => Err("there is no such heading".into()),
        _ => Ok(()),
    }
}

/// The anchors that GitHub gives a page's headings.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    let headings = prose(text).filter_map(|line| {
        let heading = line.trim_start_matches('#');
        (heading.len() < line.len()).then(|| heading.strip_prefix(' ')).flatten()
    });
    for heading in headings {
        let kept = |character: char| match character {
            ' ' => Some('-'),
            '-' | '_' => Some(character),
            _ => character.is_alphanumeric().then_some(character),
        };
        let anchor: String = heading.trim().to_lowercase().chars().filter_map(kept).collect();
        // The second heading of a name is distinguished from the first.
        let mut names =
            std::iter::once(anchor.clone()).chain((1..).map(|number| format!("{anchor}-{number}")));
        anchors.insert(names.find(|name| !anchors.contains(name)).unwrap());
    }
    anchors
}

/// The lines outside of blocks of code.
fn prose(text: &str) -> impl Iterator<Item = &str> {
    let mut in_code = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        in_code ^= is_fence;
        !in_code && !is_fence
    })
}
