//! The command line: what it refuses, and how it says so.

use crate::support::{Process, Weir};

#[tokio::test]
async fn a_wrong_variable_stops_the_start_with_a_sentence_that_names_it() {
    for (program, arguments, variable, value, expected) in [
        ("weir", &["serve"][..], "WEIR_HTTP_ADDR", "everywhere", "WEIR_HTTP_ADDR: 'everywhere' is not valid"),
        ("weir", &["serve"], "WEIR_MAX_BODY", "large", "expected a size such as 512KiB"),
        ("weir", &["serve"], "WEIR_NAMESPACE", "A.B", "WEIR_NAMESPACE: 'A.B' is not valid: expected 1 to 32"),
        ("weir", &["serve"], "LOG_FORMAT", "xml", "LOG_FORMAT: 'xml' is not valid: expected json or text"),
        (
            "weir",
            &["serve"],
            "WEIR_MAX_EVENTS",
            "many",
            "WEIR_MAX_EVENTS: 'many' is not valid: expected a whole number",
        ),
        ("weir-worker", &[], "WEIR_WRITERS", "0", "WEIR_WRITERS: '0' is not valid"),
        ("weir-worker", &[], "WEIR_WRITE_WAIT", "soon", "expected a duration such as 250ms"),
    ] {
        let refused = Process::run(program, arguments, &[(variable.into(), value.into())]).await;
        assert!(!refused.status.success());
        assert!(refused.stderr.contains(expected), "{refused:?}");
    }
}

#[tokio::test]
async fn projects_and_keys_are_managed_by_name() {
    let weir = Weir::start().await;
    weir.project("shop", "Europe/Kyiv").await;
    let again = weir.run(&["project", "create", "shop"]).await;
    assert!(
        !again.status.success() && again.stderr.contains("there is a project 'shop' already"),
        "{again:?}"
    );
    let unknown = weir.run(&["key", "create", "--project", "shopp", "--kind", "read"]).await;
    assert!(unknown.stderr.contains("there is no project 'shopp'"), "{unknown:?}");
    let wrong = weir.run(&["project", "create", "No Spaces"]).await;
    assert!(wrong.stderr.contains("expected 1 to 63 of a-z"), "{wrong:?}");
    let zone = weir.run(&["project", "create", "x", "--timezone", "Mars/Olympus"]).await;
    assert!(zone.stderr.contains("expected an IANA time zone"), "{zone:?}");
    let nothing = weir.run(&["project", "set", "shop"]).await;
    assert!(nothing.stderr.contains("say what to change, such as --rate-limit"), "{nothing:?}");
    let list = weir.run(&["project", "list"]).await.succeeded();
    assert!(list.stdout.contains("Europe/Kyiv"), "{list:?}");
    weir.stop().await;
}

#[tokio::test]
async fn the_page_on_configuration_has_every_variable_with_its_default() {
    let page = include_str!("../../../docs/configuration.md");
    for (program, arguments) in
        [("weir", &["serve", "--help"][..]), ("weir", &["import", "--help"]), ("weir-worker", &["--help"])]
    {
        let help = Process::run(program, arguments, &[]).await.succeeded().stdout;
        let help = help.split_whitespace().collect::<Vec<_>>().join(" ");
        let mut variables = 0;
        for option in help.split("[env: ").skip(1) {
            let (variable, rest) = option.split_once([']', '=']).unwrap();
            let (_, default) = rest.split_once("[default: ").unwrap();
            let (default, _) = default.split_once(']').unwrap();
            let row = format!("| `{variable}` | `{default}` |");
            assert!(page.contains(&row), "docs/configuration.md has no row {row}");
            variables += 1;
        }
        assert!(variables > 10, "only {variables} variables in the help of {program}");
    }
}
