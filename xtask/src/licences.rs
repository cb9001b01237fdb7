//! Licences and names of everything that is linked, against the lists in deny.toml.
//!
//! cargo-deny checks more, and is not needed for this: a licence that nobody looked at is noticed by `cargo test`, and
//! so is a crate that may never enter.

use anyhow::{Context, Result, bail};
use serde_json::Value;

/// The licences that deny.toml allows.
///
/// # Errors
/// There is no list `allow` under `[licenses]`.
pub fn allowed(deny: &str) -> Result<Vec<String>> {
    let lines = deny
        .lines()
        .skip_while(|line| *line != "[licenses]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .skip_while(|line| !line.starts_with("allow = ["))
        .take_while(|line| !line.starts_with(']'));
    let names: Vec<String> = lines
        .filter_map(|line| line.trim_start().strip_prefix('"')?.split('"').next())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        bail!("no licences are allowed");
    }
    Ok(names)
}

/// The crates that deny.toml bans.
///
/// # Errors
/// There is no list `deny` under `[bans]`.
pub fn banned(deny: &str) -> Result<Vec<String>> {
    let lines = deny
        .lines()
        .skip_while(|line| *line != "[bans]")
        .skip(1)
        .take_while(|line| !line.starts_with('['))
        .skip_while(|line| !line.starts_with("deny = ["))
        .take_while(|line| !line.starts_with(']'));
    let names: Vec<String> = lines
        .filter_map(|line| {
            line.trim_start()
                .strip_prefix("{ crate = \"")?
                .split('"')
                .next()
        })
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        bail!("no crate is banned");
    }
    Ok(names)
}

/// Packages that are banned, in what `cargo tree --prefix none` printed. Unlike a lock file, it leaves out what no
/// feature that is on asks for.
#[must_use]
pub fn intruders(tree: &str, banned: &[String]) -> Vec<String> {
    let names = tree.lines().filter_map(|line| line.split(' ').next());
    let is_banned = |name: &&str| banned.iter().any(|other| other == name);
    names
        .filter(is_banned)
        .map(|name| format!("{name} is banned"))
        .collect()
}

/// Packages in what `cargo metadata` printed whose licence is not allowed, or that come from somewhere else than the
/// crate registry.
///
/// # Errors
/// It has another shape than cargo documents.
pub fn check(metadata: &Value, allowed: &[String]) -> Result<Vec<String>> {
    let packages = metadata["packages"].as_array().context("no packages")?;
    let mut wrong = Vec::new();
    for package in packages {
        let name = package["name"].as_str().context("no name")?;
        let licence = package["license"].as_str().unwrap_or("none");
        if !satisfies(licence, allowed).with_context(|| format!("{name}: {licence}"))? {
            wrong.push(format!("{name} has the licence {licence}"));
        }
        let source = package["source"].as_str();
        if source.is_some_and(|source| source != REGISTRY) {
            wrong.push(format!("{name} is not from the crate registry"));
        }
    }
    Ok(wrong)
}

const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// True if one choice that an SPDX expression leaves is allowed in all its parts. `/` is an old way to say `OR`.
fn satisfies(expression: &str, allowed: &[String]) -> Result<bool> {
    let spaced = expression
        .replace('(', " ( ")
        .replace(')', " ) ")
        .replace('/', " OR ");
    let mut words = spaced.split_whitespace().peekable();
    let answer = any_of(&mut words, allowed)?;
    match words.next() {
        None => Ok(answer),
        Some(word) => bail!("{word} is out of place"),
    }
}

type Words<'a, 'b> = &'a mut std::iter::Peekable<std::str::SplitWhitespace<'b>>;

fn any_of(words: Words<'_, '_>, allowed: &[String]) -> Result<bool> {
    let mut answer = all_of(words, allowed)?;
    while words.next_if_eq(&"OR").is_some() {
        answer |= all_of(words, allowed)?;
    }
    Ok(answer)
}

fn all_of(words: Words<'_, '_>, allowed: &[String]) -> Result<bool> {
    let mut answer = one(words, allowed)?;
    while words.next_if_eq(&"AND").is_some() {
        answer &= one(words, allowed)?;
    }
    Ok(answer)
}

fn one(words: Words<'_, '_>, allowed: &[String]) -> Result<bool> {
    let word = words.next().context("it ends too early")?;
    if word == "(" {
        let answer = any_of(words, allowed)?;
        words.next_if_eq(&")").context("a parenthesis stays open")?;
        return Ok(answer);
    }
    let mut name = word.to_owned();
    if words.next_if_eq(&"WITH").is_some() {
        let exception = words.next().context("it ends too early")?;
        name = format!("{name} WITH {exception}");
    }
    Ok(allowed.contains(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENY: &str = "[bans]\nallow = [\n    \"x\",\n]\n[licenses]\nallow = [\n    \"MIT\",\n    \"ISC\", # why\n    \"Apache-2.0 WITH LLVM-exception\",\n]\n[sources]\n";

    #[test]
    fn the_list_is_read() {
        let names = allowed(DENY).unwrap();
        assert_eq!(names, ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"]);
        assert!(allowed("[licenses]\n").is_err());
    }

    #[test]
    fn what_is_banned_is_found() {
        let deny = "[bans]\ndeny = [\n    # why\n    { crate = \"ring\" },\n    { crate = \"x\", wrappers = [\"y\"] },\n]\n";
        let names = banned(deny).unwrap();
        assert_eq!(names, ["ring", "x"]);
        assert!(banned("[bans]\n[sources]\n").is_err());
        let tree = "string v1.0.0\nring v0.17.14\n\ny v1.0.0 (/tmp/y) (*)\n";
        assert_eq!(intruders(tree, &names), ["ring is banned"]);
        assert!(intruders(tree, &names[1..]).is_empty());
    }

    #[test]
    fn expressions_are_judged_as_spdx_means_them() {
        let allowed = allowed(DENY).unwrap();
        for (expression, expected) in [
            ("MIT", true),
            ("GPL-3.0", false),
            ("GPL-3.0 OR MIT", true),
            ("GPL-3.0/MIT", true),
            ("MIT AND GPL-3.0", false),
            ("MIT AND (GPL-3.0 OR ISC)", true),
            ("GPL-3.0 OR MIT AND ISC", true),
            ("MIT AND ISC AND NCSA OR GPL-3.0", false),
            ("Apache-2.0 WITH LLVM-exception", true),
            ("Apache-2.0", false),
            ("none", false),
        ] {
            assert_eq!(
                satisfies(expression, &allowed).unwrap(),
                expected,
                "{expression}"
            );
        }
        for broken in ["", "(MIT", "MIT ISC", "MIT AND", "MIT WITH"] {
            assert!(satisfies(broken, &allowed).is_err(), "{broken}");
        }
    }

    #[test]
    fn a_licence_that_is_not_allowed_and_a_source_elsewhere_are_refused() {
        let metadata = serde_json::json!({ "packages": [
            { "name": "own", "license": "MIT", "source": null },
            { "name": "free", "license": "ISC", "source": REGISTRY },
            { "name": "taken", "license": "GPL-3.0", "source": REGISTRY },
            { "name": "bare", "license": null, "source": REGISTRY },
            { "name": "forked", "license": "MIT", "source": "git+https://example.org/x" },
        ]});
        assert_eq!(
            check(&metadata, &allowed(DENY).unwrap()).unwrap(),
            [
                "taken has the licence GPL-3.0",
                "bare has the licence none",
                "forked is not from the crate registry"
            ]
        );
    }
}
