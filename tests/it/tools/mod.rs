//! The command line, the documents and the scripts.

mod bench;
mod clients;
mod command_line;
mod dlq;
mod doctor;
mod documents;
mod faults;
mod glossary;
mod import_hints;
mod imports;
mod schemathesis;
