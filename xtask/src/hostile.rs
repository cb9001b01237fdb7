//! The catalogue of hostile rows, and the rule that `docs/reliability.md` has a test in the tree for each of them.
//!
//! [`CATALOGUE`] is what must be played. [`rows`] reads the table of the page, [`wrong`] says in sentences where page,
//! catalogue and tests differ.

use std::collections::{BTreeMap, BTreeSet};

/// Number and name of every row. One that is built later is in the list from the beginning.
pub const CATALOGUE: [(&str, &str); 107] = [
    ("001", "baseline"),
    ("002", "no-range"),
    ("003", "accept-ranges-lie"),
    ("006", "206-zero-start"),
    ("007", "206-total-mismatch"),
    ("008", "206-short"),
    ("009", "206-long"),
    ("010", "206-no-content-range"),
    ("012", "206-star-total"),
    ("014", "range-total-overflow"),
    ("016", "416-always"),
    ("018", "cl-negative"),
    ("019", "cl-overflow"),
    ("020", "cl-two-differ"),
    ("022", "chunked-ok"),
    ("023", "chunked-truncated"),
    ("026", "close-delimited"),
    ("028", "early-close-recover"),
    ("029", "early-close-always"),
    ("031", "extra-bytes"),
    ("032", "zero-length"),
    ("033", "one-byte"),
    ("034", "headers-endless"),
    ("036", "hints-103"),
    ("038", "garbage-status"),
    ("039", "stall-recover"),
    ("040", "stall-headers"),
    ("042", "etag-flip"),
    ("044", "lm-flip"),
    ("046", "size-flip"),
    ("047", "silent-flip-sha"),
    ("048", "wrong-sha"),
    ("049", "mirrors-differ"),
    ("051", "if-range-etag-200"),
    ("052", "gzip-offered"),
    ("053", "gzip-forced"),
    ("055", "html-mid-200"),
    ("057", "html-503-mid"),
    ("058", "retry-after"),
    ("060", "conn-limit"),
    ("061", "404"),
    ("063", "signed-expiry"),
    ("064", "head-405"),
    ("065", "head-403"),
    ("068", "redirect-loop"),
    ("069", "redirect-big-body"),
    ("070", "redirect-file"),
    ("073", "auth-cross-origin"),
    ("075", "cookie-cross-origin"),
    ("079", "cd-traversal"),
    ("082", "cd-absolute"),
    ("083", "cd-dotfile"),
    ("087", "cd-control"),
    ("088", "cd-long"),
    ("089", "url-name-escape"),
    ("091", "reason-escape"),
    ("094", "kill9-resume"),
    ("096", "resume-etag-changed"),
    ("098", "resume-lm-changed"),
    ("101", "resume-range-lost"),
    ("102", "resume-gone"),
    ("103", "resume-complete"),
    ("104", "resume-journal-zeroed"),
    ("107", "resume-data-cut"),
    ("108", "resume-data-gone"),
    ("110", "resume-foreign"),
    ("112", "enospc"),
    ("113", "efbig"),
    ("114", "dir-readonly"),
    ("115", "target-is-dir"),
    ("117", "target-symlink"),
    ("119", "exists-404"),
    ("121", "two-processes"),
    ("122", "shrunk-under-us"),
    ("124", "sigterm"),
    ("125", "tls-untrusted"),
    ("126", "tls-wrong-host"),
    ("127", "tls-ok"),
    ("128", "tls-downgrade"),
    ("130", "hls-ok"),
    ("131", "hls-file-uri"),
    ("133", "hls-key-short"),
    ("134", "hls-missing-seg"),
    ("136", "hls-variant-loop"),
    ("139", "h2-ok"),
    ("140", "h2-refused-once"),
    ("141", "h2-goaway-once"),
    ("142", "h2-rst-mid"),
    ("143", "h2-cl-mismatch"),
    ("148", "X02"),
    ("151", "X05"),
    ("153", "X07"),
    ("154", "X08"),
    ("157", "X11"),
    ("159", "X13"),
    ("161", "X15"),
    ("163", "X17"),
    ("164", "X18"),
    ("166", "X20"),
    ("168", "X22"),
    ("170", "X24"),
    ("172", "X26"),
    ("174", "X28"),
    ("176", "X30"),
    ("177", "X31"),
    ("178", "X32"),
    ("186", "X40"),
];

/// What a row may wait for: parts of tur that are not built yet.
pub const LATER: [&str; 5] = ["h2", "h3", "hls", "stream", "hook"];

/// A row as the page has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Number in the catalogue.
    pub id: String,
    /// Name in the catalogue.
    pub name: String,
    /// What stands in the last column: paths of tests, or what is waited for.
    pub proof: String,
}

/// The rows of every table whose first column is called `row`.
#[must_use]
pub fn rows(page: &str) -> Vec<Row> {
    let mut rows = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        let Some(cells) = cells(line) else {
            inside = false;
            continue;
        };
        if cells[0] == "row" {
            inside = true;
        } else if inside && !cells[0].starts_with("--") {
            rows.push(Row {
                id: cells[0].to_owned(),
                name: cells.get(1).unwrap_or(&"").trim_matches('`').to_owned(),
                proof: (*cells.last().unwrap_or(&"")).to_owned(),
            });
        }
    }
    rows
}

fn cells(line: &str) -> Option<Vec<&str>> {
    let inside = line.trim().strip_prefix('|')?.strip_suffix('|')?;
    Some(inside.split('|').map(str::trim).collect())
}

/// Where the rows of the page, the catalogue and the tests of the tree differ, one sentence each. `tests` are full
/// paths, such as `tur_engine::driver::tests::disks::any_call_may_fail`.
#[must_use]
pub fn wrong(rows: &[Row], tests: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = unlike_catalogue(rows);
    let mut named: BTreeMap<&str, &str> = BTreeMap::new();
    for row in rows {
        let paths = paths(&row.proof);
        wrong.extend(unproven(row, &paths));
        for path in paths {
            if !tests.contains(path) {
                wrong.push(format!("row {}: there is no test `{path}`", row.id));
            }
            named.insert(path, &row.id);
        }
    }
    wrong.extend(unlisted(tests, &named));
    wrong
}

/// Each row of the catalogue stands there once, under its name, and nothing else does.
fn unlike_catalogue(rows: &[Row]) -> Vec<String> {
    let mut wrong = Vec::new();
    for (id, name) in CATALOGUE {
        let found: Vec<&Row> = rows.iter().filter(|row| row.id == id).collect();
        match found[..] {
            [row] if row.name == name => {}
            [row] => wrong.push(format!("row {id} is called `{}`, not `{name}`", row.name)),
            _ => wrong.push(format!(
                "row {id} ({name}) stands there {} times",
                found.len()
            )),
        }
    }
    let known = |row: &&Row| CATALOGUE.iter().any(|(id, _)| row.id == *id);
    let strange = rows.iter().filter(|row| !known(row));
    wrong.extend(strange.map(|row| format!("row {} is not in the catalogue", row.id)));
    wrong
}

/// A row without a test says what it waits for, in words that are allowed.
fn unproven(row: &Row, paths: &[&str]) -> Option<String> {
    let Row { id, proof, .. } = row;
    if let Some(reason) = proof.strip_prefix("later: ") {
        let allowed = LATER.contains(&reason);
        return (!allowed).then(|| format!("row {id} may not wait for that: {proof}"));
    }
    let text = paths
        .iter()
        .fold(proof.clone(), |text, path| text.replacen(path, "", 1));
    let only_paths = text.chars().all(|c| "`, ".contains(c));
    (paths.is_empty() || !only_paths).then(|| format!("row {id} names no test: {proof:?}"))
}

/// Tests that are called after a row (`r042_…`) stand in it.
fn unlisted(tests: &BTreeSet<String>, named: &BTreeMap<&str, &str>) -> Vec<String> {
    let mut wrong = Vec::new();
    for path in tests {
        let name = path.rsplit("::").next().unwrap_or("");
        let number = name
            .strip_prefix('r')
            .and_then(|rest| rest.split('_').next());
        let Some((id, _)) = CATALOGUE.iter().find(|(id, _)| number == Some(id)) else {
            continue;
        };
        if named.get(path.as_str()) != Some(id) {
            wrong.push(format!("row {id} does not name `{path}`"));
        }
    }
    wrong
}

/// What stands between backquotes.
fn paths(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A page with every row: a test each, but for those that wait.
    fn page() -> String {
        let mut page = "Words.\n\n| row | name | what | tests |\n|---|---|---|---|\n".to_owned();
        for (id, name) in CATALOGUE {
            let proof = match id {
                "130" => "later: hls".to_owned(),
                id => format!("`tur_x::r{id}_it`, `tur_x::shared`"),
            };
            page += &format!("| {id} | `{name}` | words | {proof} |\n");
        }
        page + "\n| other | table |\n|---|---|\n| 999 | `x` |\n"
    }

    fn tests() -> BTreeSet<String> {
        let own = CATALOGUE
            .iter()
            .filter(|(id, _)| *id != "130")
            .map(|(id, _)| format!("tur_x::r{id}_it"));
        own.chain(["tur_x::shared".to_owned(), "tur_x::r999_it".to_owned()])
            .collect()
    }

    fn sentences(page: &str) -> Vec<String> {
        wrong(&rows(page), &tests())
    }

    #[test]
    fn the_catalogue_has_each_row_once_and_in_order() {
        assert!(CATALOGUE.windows(2).all(|pair| pair[0].0 < pair[1].0));
        let names: BTreeSet<&str> = CATALOGUE.iter().map(|(_, name)| *name).collect();
        assert_eq!(names.len(), CATALOGUE.len());
    }

    #[test]
    fn a_complete_page_passes() {
        assert_eq!(sentences(&page()), Vec::<String>::new());
    }

    #[test]
    fn what_is_missing_doubled_or_strange_is_named() {
        let row = "| 042 | `etag-flip` | words | `tur_x::r042_it`, `tur_x::shared` |\n";
        let twice = row.repeat(2);
        let strange = row.replace("042", "999").replace("r999", "r042");
        for (from, to, expected) in [
            (row, "", 2),
            (row, twice.as_str(), 1),
            (row, strange.as_str(), 3),
            ("`etag-flip`", "`etag-flop`", 1),
            ("`tur_x::r042_it`", "`tur_x::r042_gone`", 2),
            ("`tur_x::r042_it`, `tur_x::shared`", "", 2),
            ("`tur_x::r042_it`, `tur_x::shared`", "soon", 2),
            ("`tur_x::r042_it`, `tur_x::shared`", "later: hls", 1),
            ("`tur_x::r042_it`, ", "", 1),
            ("`tur_x::r042_it`", "`tur_x::r042_it` sometimes", 1),
            ("`tur_x::r042_it`", "`tur_x::r044_it`", 1),
            ("later: hls", "later: some day", 1),
            ("later: hls", "later", 1),
        ] {
            let page = page().replace(from, to);
            let wrong = sentences(&page);
            assert_eq!(wrong.len(), expected, "{from} -> {to}: {wrong:?}");
        }
    }
}
