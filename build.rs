//! `sqlx::migrate!` reads `sql/` when it is compiled; cargo must know that a new file there asks for it again.

fn main() {
    println!("cargo:rerun-if-changed=sql");
}
