//! Rows in the binary form of PostgreSQL's COPY.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Microseconds from 1970 to 2000, where PostgreSQL's time begins.
const EPOCH: i64 = 946_684_800_000_000;

/// Rows of `columns` columns; each row's values are added in the order of the columns.
pub struct CopyRows {
    bytes: Vec<u8>,
    columns: i16,
}

impl CopyRows {
    pub fn new(columns: i16) -> Self {
        let mut bytes = Vec::from(*b"PGCOPY\n\xff\r\n\0");
        bytes.extend([0; 8]); // no flags, no extension of the header
        Self { bytes, columns }
    }

    pub fn begin_row(&mut self) {
        self.bytes.extend(self.columns.to_be_bytes());
    }

    pub fn int(&mut self, value: i32) {
        self.value(&value.to_be_bytes());
    }

    pub fn int_or_null(&mut self, value: Option<i32>) {
        match value {
            Some(value) => self.int(value),
            None => self.bytes.extend((-1_i32).to_be_bytes()),
        }
    }

    pub fn timestamptz(&mut self, value: DateTime<Utc>) {
        self.value(&(value.timestamp_micros() - EPOCH).to_be_bytes());
    }

    pub fn uuid(&mut self, value: Uuid) {
        self.value(value.as_bytes());
    }

    pub fn text(&mut self, value: &str) {
        self.value(value.as_bytes());
    }

    pub fn jsonb(&mut self, text: &str) {
        self.length(text.len() + 1);
        self.bytes.push(1); // the version of jsonb's binary form
        self.bytes.extend(text.as_bytes());
    }

    pub fn finish(mut self) -> Vec<u8> {
        self.bytes.extend((-1_i16).to_be_bytes());
        self.bytes
    }

    fn value(&mut self, value: &[u8]) {
        self.length(value.len());
        self.bytes.extend(value);
    }

    fn length(&mut self, length: usize) {
        let length = i32::try_from(length).expect("values are bounded far below 2 GiB");
        self.bytes.extend(length.to_be_bytes());
    }
}
