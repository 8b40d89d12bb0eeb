//! API keys: `weir_wk_…`, `weir_rk_…`, `weir_ak_…`. Only their hashes are kept, and nothing prints one but its creation.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};

/// What a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyKind {
    /// Sends events, nothing else: it may stand in a web page.
    Write,
    /// Asks questions.
    Read,
    /// Does both, and merges and deletes users.
    Admin,
}

impl KeyKind {
    pub const ALL: [Self; 3] = [Self::Write, Self::Read, Self::Admin];

    pub fn name(self) -> &'static str {
        match self {
            Self::Write => "write",
            Self::Read => "read",
            Self::Admin => "admin",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// Whether a key of this kind may do what asks for a key of kind `needed`.
    pub fn allows(self, needed: Self) -> bool {
        self == needed || self == Self::Admin
    }
}

/// A key as its holder knows it. It has no `Debug` and no `Display`, so that it cannot slip into a log.
pub struct Key(String);

/// SHA-256 of a key: what is stored and compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyHash([u8; 32]);

impl Key {
    /// A new random key of 192 bits.
    pub fn generate(kind: KeyKind) -> Self {
        let secret: [u8; 24] = rand::random();
        let letter = &kind.name()[..1];
        Self(format!("weir_{letter}k_{}", BASE64_URL_SAFE_NO_PAD.encode(secret)))
    }

    pub fn from_text(text: &str) -> Self {
        Self(text.to_owned())
    }

    pub fn hash(&self) -> KeyHash {
        KeyHash(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The first characters: enough to tell keys apart in a list, too few to guess one.
    pub fn hint(&self) -> &str {
        let end = self.0.char_indices().nth(12).map_or(self.0.len(), |(index, _)| index);
        &self.0[..end]
    }

    /// The whole key, for the one time that it is shown.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl KeyHash {
    /// For the store, which keeps the bytes that it was given.
    pub(crate) fn from_stored(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(Self)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_random_and_name_their_kind() {
        let (one, two) = (Key::generate(KeyKind::Read), Key::generate(KeyKind::Read));
        assert!(one.reveal().starts_with("weir_rk_") && one.reveal().len() == 40);
        assert!(one.hash() != two.hash());
        assert_eq!(one.hint().len(), 12);
    }

    #[test]
    fn an_admin_key_does_everything_and_the_others_their_own() {
        for needed in KeyKind::ALL {
            assert!(KeyKind::Admin.allows(needed));
            for kind in [KeyKind::Write, KeyKind::Read] {
                assert_eq!(kind.allows(needed), kind == needed);
            }
        }
    }
}
