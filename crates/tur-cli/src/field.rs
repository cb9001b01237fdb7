//! Request fields and credentials as they are typed.
//!
//! No sentence here repeats a value: it may be a secret. Nor does a sentence about a file of fields repeat a line of it.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use tur_engine::Secret;

use crate::bounds::FIELD_FILE_BYTES;

/// A request field, checked: the name is a token and the value has no character that could end the line.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// The name as typed.
    pub(crate) name: String,
    /// The value, without white space around it.
    pub(crate) value: Secret,
}

impl Field {
    /// Reads `Name: value`, or `Name;` for an empty value.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        if let Some((name, value)) = text.split_once(':') {
            let field = Self::of(name, value)?;
            if field.value.is_empty() {
                return Err(format!(
                    "{name}: has no value (to send it empty write '{name};')"
                ));
            }
            return Ok(field);
        }
        match text.strip_suffix(';') {
            Some(name) => Self::of(name, ""),
            None => Err("'Name: value', or 'Name;' for an empty one, is expected".to_owned()),
        }
    }

    /// A field with a known name.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn of(name: &str, value: &str) -> Result<Self, String> {
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(
                "the name of a field may have letters, digits and !#$%&'*+-.^_`|~ only".to_owned(),
            );
        }
        let value =
            line(value).ok_or_else(|| format!("{name}: the value has a control character"))?;
        Ok(Self {
            name: name.to_owned(),
            value: value.into(),
        })
    }
}

/// `-H` as typed, with each `@FILE` replaced by the lines of that file: who reads fields from a file keeps them out of the
/// list of processes, which everybody on the machine may read. Empty lines are skipped, as curl does.
///
/// # Errors
/// A sentence that says what is wrong with the file.
pub(crate) fn with_files(typed: Vec<String>) -> Result<Vec<String>, String> {
    let mut fields = Vec::with_capacity(typed.len());
    for text in typed {
        let Some(name) = text.strip_prefix('@') else {
            fields.push(text);
            continue;
        };
        let lines = read(Path::new(name)).map_err(|why| format!("-H @{name}: {why}"))?;
        let lines = lines.lines().filter(|line| !line.trim().is_empty());
        fields.extend(lines.map(str::to_owned));
    }
    Ok(fields)
}

fn read(path: &Path) -> Result<String, String> {
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(|error| error.to_string())?;
    let limit = FIELD_FILE_BYTES;
    file.take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| error.to_string())?;
    if bytes.len() as u64 > limit {
        return Err(format!("it has more than {limit} bytes"));
    }
    String::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())
}

/// User name and password for the origin.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Credentials {
    /// User name; has no colon (RFC 7617, section 2).
    pub(crate) user: Secret,
    /// Password; may be empty.
    pub(crate) password: Secret,
}

impl Credentials {
    /// Reads `USER:PASS`; everything after the first colon is the password.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let Some((user, password)) = text.split_once(':') else {
            return Err(
                "write USER:PASS; tur does not ask for a password (an empty one is 'USER:')"
                    .to_owned(),
            );
        };
        // RFC 7617, section 2: neither may have control characters.
        if text.chars().any(char::is_control) {
            return Err("user name and password may not have control characters".to_owned());
        }
        Ok(Self {
            user: user.into(),
            password: password.into(),
        })
    }
}

/// The text without white space around it; `None` if it has a control character other than a tab (RFC 9110,
/// section 5.5).
pub(crate) fn line(text: &str) -> Option<&str> {
    let clean = !text.chars().any(|c| c.is_control() && c != '\t');
    clean.then(|| text.trim_matches([' ', '\t']))
}

/// True for a character of a token (RFC 9110, section 5.6.2).
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(text: &str) -> Result<(String, String), String> {
        Field::parse(text).map(|field| {
            let value = field.value.expose().to_vec();
            (field.name, String::from_utf8(value).expect("typed as text"))
        })
    }

    #[test]
    fn fields_are_read() {
        for (text, name, value) in [
            ("Accept: */*", "Accept", "*/*"),
            ("X-Time:10:30", "X-Time", "10:30"),
            ("Cookie: \t a=b; c=d \t", "Cookie", "a=b; c=d"),
            ("Cookie: a=b;", "Cookie", "a=b;"),
            ("X-Empty;", "X-Empty", ""),
            ("X-Name: näme", "X-Name", "näme"),
        ] {
            assert_eq!(
                pair(text),
                Ok((name.to_owned(), value.to_owned())),
                "{text}"
            );
        }
    }

    #[test]
    fn what_could_split_a_request_is_refused() {
        for text in [
            "",
            ":",
            ";",
            ": x",
            "Name",
            "Na me: x",
            "Name : x",
            "Näme: x",
            "X: a\r\nY: b",
            "X: a\nb",
            "X: a\0",
            "X: \u{85}",
            "X:",
            "X: ",
            "X;y",
            "X\n;",
        ] {
            assert!(pair(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn no_sentence_repeats_a_value() {
        for text in ["Authorization: hunter2\n", "hunter2", "hunter 2: hunter2"] {
            let error = pair(text).expect_err("malformed");
            assert!(!error.contains("hunter"), "{error}");
        }
        let error = Credentials::parse("hunter2")
            .map(drop)
            .expect_err("no colon");
        assert!(!error.contains("hunter"), "{error}");
    }

    #[test]
    fn credentials_are_split_at_the_first_colon() {
        for (text, user, password) in [("me:a:b", "me", "a:b"), ("me:", "me", ""), (":x", "", "x")]
        {
            let read = Credentials::parse(text).expect("well formed");
            assert_eq!(
                (read.user, read.password),
                (Secret::from(user), Secret::from(password))
            );
        }
        for text in ["", "me", "me:a\nb", "m\te:x"] {
            assert!(Credentials::parse(text).is_err(), "{text:?}");
        }
    }
}
