//! `weir key`.

use std::str::FromStr;

use anyhow::Context;
use clap::{Args, Subcommand};
use weir::{
    config::Database,
    model::key::{Key, KeyHash, KeyKind},
    store,
};

#[derive(Args)]
pub(super) struct Options {
    #[command(flatten)]
    database: Database,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Create a key and show it, this once
    Create {
        /// The project's name
        #[arg(long)]
        project: String,
        /// What the key may do
        #[arg(long)]
        kind: KeyKind,
    },
    /// List a project's keys, by their first characters
    List {
        /// The project's name
        #[arg(long)]
        project: String,
    },
    /// Revoke a key, within seconds and for good
    Revoke {
        /// The project's name
        #[arg(long)]
        project: String,
        /// The key's id, as `weir key list` shows it; or the key itself
        key: Named,
    },
}

/// Which key is meant.
#[derive(Clone)]
enum Named {
    Id(i32),
    Key(KeyHash),
}

impl FromStr for Named {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.parse() {
            Ok(id) => Ok(Self::Id(id)),
            Err(_) if text.starts_with("weir_") => Ok(Self::Key(Key::from_text(text).hash())),
            Err(_) => Err("expected a number, as `weir key list` shows it, or a key such as weir_wk_…"),
        }
    }
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let pool = store::open(&options.database).await?;
    match options.command {
        Command::Create { project, kind } => {
            let project = super::project_named(&pool, &project).await?;
            let key = Key::generate(kind);
            store::projects::keys::create(&pool, project.id, kind, &key).await?;
            eprintln!("Keep this key: weir does not show it again.");
            println!("{}", key.reveal());
        }
        Command::List { project } => {
            let project = super::project_named(&pool, &project).await?;
            println!("{:<6} {:<6} {:<16} {:<22} revoked", "id", "kind", "key", "created");
            for key in store::projects::keys::list(&pool, project.id).await? {
                let revoked = key.revoked_at.map_or("-".into(), |time| time.format("%F %T").to_string());
                let hint = format!("{}…", key.hint);
                println!(
                    "{:<6} {:<6} {hint:<16} {:<22} {revoked}",
                    key.key_id,
                    key.kind,
                    key.created_at.format("%F %T")
                );
            }
        }
        Command::Revoke { project: name, key } => {
            let project = super::project_named(&pool, &name).await?;
            let known = match key {
                Named::Id(id) => Some(id),
                Named::Key(hash) => store::projects::keys::id_of(&pool, project.id, &hash).await?,
            };
            let keys = store::projects::keys::list(&pool, project.id).await?;
            let known = known.and_then(|id| keys.iter().find(|key| key.key_id == id)).with_context(|| {
                format!(
                    "the project '{name}' has no such key; `weir key list --project {name}` lists its keys"
                )
            })?;
            if let Some(at) = known.revoked_at {
                println!("This key was revoked already, at {} UTC.", at.format("%F %T"));
                return Ok(());
            }
            store::projects::keys::revoke(&pool, project.id, known.key_id).await?;
            println!("Revoked. Within seconds every instance refuses it.");
        }
    }
    Ok(())
}
