//! Why the database did not do what it was asked, and whose matter that is.

/// Why the database did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("the database failed")]
    Database(#[from] sqlx::Error),
    #[error("cannot connect to the database at {address} (DATABASE_URL)")]
    Unreachable { address: String, source: sqlx::Error },
    #[error("a bitmap from the database cannot be read")]
    Bitmap(#[source] std::io::Error),
    #[error("project {project_id} has the time zone '{timezone}', which is unknown")]
    Timezone { project_id: i32, timezone: String },
    #[error("there is no project {0}")]
    NoProject(i32),
    #[error("a user has no number")]
    NoUserNumber,
    #[error("the year {0} is in no calendar of weir")]
    Year(i32),
    #[error("the database did not answer in time")]
    TimedOut,
    #[error("no permit to read events became free in time")]
    NoPermit,
    #[error("the answer would have more than {0} rows")]
    TooManyRows(usize),
    #[error("weir panicked over these data; its standard error says where")]
    Panicked,
}

/// Whose matter an error is: what whoever asked can do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The database is away or overloaded: the same may work later.
    Unavailable,
    /// weir answers as many questions as it may: the same works when others are done.
    Busy,
    /// The question costs more than questions may, or somebody cancelled it.
    TooExpensive,
    /// The state of the database or its settings: the same works when a person has changed it.
    Operational,
    /// A value is one that the database cannot work with.
    Value,
    /// Something is stored that must be there once.
    Duplicate,
    /// These data are refused for another reason, and would be again.
    Refused,
    /// A mistake of weir.
    Internal,
}

impl ErrorKind {
    /// The same may work later, also what somebody cancelled.
    pub fn is_transient(self) -> bool {
        matches!(self, Self::Unavailable | Self::Busy | Self::TooExpensive)
    }

    /// Not the data are to blame, but the state of the database or of its settings: the same works when time or a person has
    /// changed it.
    pub fn is_operational(self) -> bool {
        self.is_transient() || self == Self::Operational
    }

    /// The data are to blame.
    pub fn is_refusal(self) -> bool {
        matches!(self, Self::Value | Self::Duplicate | Self::Refused)
    }
}

impl StoreError {
    /// Whose matter it is. Sqlstates: appendix A of PostgreSQL's manual.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Database(sqlx::Error::Database(error)) => match error.code().as_deref() {
                Some("23505") => ErrorKind::Duplicate,
                Some("57014") => ErrorKind::TooExpensive, // `statement_timeout`, or `pg_cancel_backend`
                Some(code) => of_class(code),
                None => ErrorKind::Internal,
            },
            Self::Database(
                sqlx::Error::Io(_)
                | sqlx::Error::Tls(_)
                | sqlx::Error::Protocol(_)
                | sqlx::Error::PoolTimedOut
                | sqlx::Error::PoolClosed
                | sqlx::Error::WorkerCrashed,
            )
            | Self::TimedOut
            | Self::Unreachable { .. } => ErrorKind::Unavailable,
            Self::NoPermit => ErrorKind::Busy,
            Self::TooManyRows(_) => ErrorKind::TooExpensive,
            Self::Year(_) | Self::Panicked => ErrorKind::Refused,
            Self::Database(_)
            | Self::Bitmap(_)
            | Self::Timezone { .. }
            | Self::NoProject(_)
            | Self::NoUserNumber => ErrorKind::Internal,
        }
    }

    /// The connection on which it happened can be used again.
    pub(super) fn leaves_connection_usable(&self) -> bool {
        self.kind().is_refusal() && !matches!(self, Self::Panicked)
    }
}

fn of_class(code: &str) -> ErrorKind {
    match code.get(..2) {
        // Connection, transaction rollback (deadlock), resources, operator intervention, system.
        Some("08" | "40" | "53" | "57" | "58") => ErrorKind::Unavailable,
        // Transaction state (a server that is read only), authorisation, catalog, privilege and schema, object in use,
        // configuration.
        Some("25" | "28" | "3D" | "42" | "55" | "F0") => ErrorKind::Operational,
        Some("22") => ErrorKind::Value,
        // Integrity, a view's check option, a limit of PostgreSQL, an exception that a trigger raises.
        Some("23" | "44" | "54" | "P0") => ErrorKind::Refused,
        _ => ErrorKind::Internal,
    }
}
