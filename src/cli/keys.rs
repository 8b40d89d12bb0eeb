//! `weir key`.

use anyhow::ensure;
use clap::{Args, Subcommand};
use weir::{
    config::Database,
    key::{Key, KeyKind},
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
        /// The key's id, as `weir key list` shows it
        id: i32,
    },
}

pub(super) async fn run(options: Options) -> anyhow::Result<()> {
    let pool = store::open(&options.database).await?;
    match options.command {
        Command::Create { project, kind } => {
            let project = super::project_named(&pool, &project).await?;
            let key = Key::generate(kind);
            store::keys::create(&pool, project.id, kind, &key).await?;
            eprintln!("Keep it: it is not shown again.");
            println!("{}", key.reveal());
        }
        Command::List { project } => {
            let project = super::project_named(&pool, &project).await?;
            println!("{:<6} {:<6} {:<16} {:<22} revoked", "id", "kind", "key", "created");
            for key in store::keys::list(&pool, project.id).await? {
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
        Command::Revoke { project, id } => {
            let name = project;
            let project = super::project_named(&pool, &name).await?;
            ensure!(
                store::keys::revoke(&pool, project.id, id).await?,
                "the project '{name}' has no key {id}"
            );
            println!("Revoked.");
        }
    }
    Ok(())
}
