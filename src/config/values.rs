//! What values of options may be, and what is said of those that are none.

use std::time::Duration;

use bytesize::ByteSize;

use super::ClientAddress;

pub(super) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|_| "expected a duration such as 250ms, 5s, 24h or 30days".into())
}

pub(super) fn bytes(text: &str) -> Result<ByteSize, String> {
    text.parse().map_err(|_| "expected a size such as 512KiB, 5MiB or 10GB".into())
}

pub(super) fn stream_bytes(text: &str) -> Result<ByteSize, String> {
    let smallest = ByteSize::kib(64);
    match bytes(text)? {
        size if size < smallest => {
            Err(format!("expected at least {smallest}: a stream without a bound fills the disk"))
        }
        size => Ok(size),
    }
}

/// A worker reports four times as often that it works on a message.
pub(super) fn ack_wait(text: &str) -> Result<Duration, String> {
    let shortest = Duration::from_secs(1);
    match duration(text)? {
        wait if wait < shortest => {
            Err("expected at least 1s: a message would come again while it is stored".into())
        }
        wait => Ok(wait),
    }
}

pub(super) fn database_url(text: &str) -> Result<String, String> {
    let is_one = (text.starts_with("postgres://") || text.starts_with("postgresql://"))
        && text.parse::<sqlx::postgres::PgConnectOptions>().is_ok();
    if is_one { Ok(text.into()) } else { Err("expected postgres://USER:PASSWORD@HOST:PORT/DATABASE".into()) }
}

pub(super) fn nats_url(text: &str) -> Result<String, String> {
    let is_one = text
        .split(',')
        .all(|one| one.contains("://") && one.trim().parse::<async_nats::ServerAddr>().is_ok());
    if is_one {
        Ok(text.into())
    } else {
        Err("expected nats://HOST:PORT, or several of them separated by commas".into())
    }
}

pub(super) fn redis_url(text: &str) -> Result<String, String> {
    match redis::Client::open(text) {
        Ok(_) => Ok(text.into()),
        Err(_) => Err("expected redis://HOST:PORT, or rediss:// with TLS".into()),
    }
}

pub(super) fn client_address(text: &str) -> Result<ClientAddress, String> {
    if text == "connection" {
        return Ok(ClientAddress::Connection);
    }
    let expected = || "expected connection, or the name of a header such as X-Forwarded-For".into();
    text.parse().map(ClientAddress::Header).map_err(|_| expected())
}

pub(super) fn script_path(text: &str) -> Result<String, String> {
    let name = text.strip_prefix('/').and_then(|path| path.strip_suffix(".js")).unwrap_or_default();
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let valid = !name.is_empty() && name.bytes().all(is_plain) && !text.contains("//");
    if valid {
        Ok(text.into())
    } else {
        Err("expected a path such as /weir.js, of letters, digits and - _ . /".into())
    }
}

pub(super) fn namespace(text: &str) -> Result<String, String> {
    let valid = (1..=32).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if valid { Ok(text.into()) } else { Err("expected 1 to 32 of a-z, 0-9 and -".into()) }
}

pub(super) fn log_level(text: &str) -> Result<String, String> {
    match text.to_lowercase().parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_lowercase()),
        Err(_) => {
            Err("expected error, warn, info, debug or trace, or directives such as info,weir=debug".into())
        }
    }
}
