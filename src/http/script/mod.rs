//! weir's own script for web pages: one tag, and page views are counted. What it does stands in `docs/browsers.md`.

use poem::Endpoint;

use super::openapi::page::page;

const SOURCE: &str = include_str!("weir.js");

/// Serves the script.
pub fn endpoint() -> impl Endpoint {
    page("text/javascript; charset=utf-8", script())
}

/// Without what is there for people: pages load it before anything else.
fn script() -> String {
    let lines = SOURCE.lines().map(str::trim_start).filter(|line| !line.starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::{Compression, write::GzEncoder};

    #[test]
    fn the_script_is_small() {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(super::script().as_bytes()).expect("memory takes all");
        let size = encoder.finish().expect("memory takes all").len();
        assert!(size < 2_048, "{size} bytes, compressed");
    }
}
