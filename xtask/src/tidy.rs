//! Rules that every source file keeps, each a pure function from a [`Source`] to a list of sentences.
//!
//! [`check`] applies all of them. Exceptions are the constants at the top; each carries its reason.

use crate::source::{Source, imports, words};

/// Files in which `unsafe` may stand.
pub const UNSAFE_FILES: [&str; 1] = ["crates/tur-storage/src/map.rs"];

/// Files that may be longer than [`FILE_LINES`], with the reason.
pub const LONG_FILES: [(&str, &str); 0] = [];

/// Lines that a file may have.
pub const FILE_LINES: usize = 600;

/// Lines of code that a function may have between its braces.
pub const FUNCTION_LINES: usize = 70;

/// Modules of tur-sched that others compose and that do not know each other.
pub const SIBLINGS: [&str; 8] = [
    "abr",
    "coordinator",
    "scaler",
    "memory",
    "pool",
    "budget",
    "dispatch",
    "watchdog",
];

/// Where a name becomes one of a file, and what of: what a user typed, a path that a caller gives, a `SafeName`, and one with a
/// number behind it. `name.rs` defines it.
pub const NAMING_FILES: [&str; 6] = [
    "crates/tur-storage/src/name.rs",
    "crates/tur-storage/src/standing.rs",
    "crates/tur-engine/src/download.rs",
    "crates/tur-engine/src/downloader.rs",
    "crates/tur-engine/src/job.rs",
    "crates/tur-engine/src/unfinished.rs",
];

/// Where the field by which a server names a file may be looked at.
pub const DISPOSITION_FILES: [&str; 1] = ["crates/tur-engine/src/driver/filing.rs"];

/// Where a path may be made of text: of what the user typed, and of constants.
pub const PATH_FILES: [&str; 2] = [
    "crates/tur-engine/src/download.rs",
    "crates/tur-engine/src/pressure/linux.rs",
];

/// Where the program may write to its standard streams, or look whether they are a terminal.
pub const STREAM_FILES: [&str; 3] = [
    "crates/tur-cli/src/console.rs",
    "crates/tur-cli/src/main.rs",
    "crates/tur-cli/src/show/bar.rs",
];

/// Words that say nothing about what a module is responsible for.
pub const EMPTY_NAMES: [&str; 7] = [
    "util", "utils", "manager", "helper", "helpers", "worker", "workers",
];

/// Every rule that a file breaks, one sentence each.
#[must_use]
pub fn check(source: &Source) -> Vec<String> {
    [
        module_doc,
        file_length,
        function_length,
        unsafe_code,
        siblings,
        file_names,
        streams,
        left_behind,
        ignored_tests,
        names,
    ]
    .iter()
    .flat_map(|rule| rule(source))
    .map(|sentence| format!("{}{sentence}", source.path))
    .collect()
}

/// The first line says what the file is responsible for.
fn module_doc(source: &Source) -> Vec<String> {
    let first = source.text.lines().next().unwrap_or("");
    match first.strip_prefix("//!") {
        Some(words) if !words.trim().is_empty() => Vec::new(),
        _ => vec![":1: the file does not begin with a //! sentence".to_owned()],
    }
}

fn file_length(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    let excepted = LONG_FILES.iter().any(|(path, _)| *path == source.path);
    if lines > FILE_LINES && !excepted {
        vec![format!(": {lines} lines; {FILE_LINES} are the limit")]
    } else if lines <= FILE_LINES && excepted {
        vec![format!(": {lines} lines need no exception")]
    } else {
        Vec::new()
    }
}

fn function_length(source: &Source) -> Vec<String> {
    source
        .functions()
        .iter()
        .filter(|function| function.lines > FUNCTION_LINES)
        .filter(|function| !function.head.contains("expect(clippy::too_many_lines"))
        .map(|function| {
            format!(
                ":{}: {} has {} lines; {FUNCTION_LINES} are the limit",
                function.line, function.name, function.lines
            )
        })
        .collect()
}

fn unsafe_code(source: &Source) -> Vec<String> {
    if UNSAFE_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    words(&source.code, "unsafe")
        .map(|at| format!(":{}: unsafe", source.line_of(at)))
        .collect()
}

/// Inside tur-sched, modules that are composed do not import each other.
fn siblings(source: &Source) -> Vec<String> {
    let Some(inside) = source.path.strip_prefix("crates/tur-sched/src/") else {
        return Vec::new();
    };
    let module = inside.split(['/', '.']).next().unwrap_or("");
    if !SIBLINGS.contains(&module) {
        return Vec::new();
    }
    let imported = imports(&source.code);
    SIBLINGS
        .iter()
        .filter(|&&sibling| sibling != module)
        .filter(|sibling| {
            let named = ["crate", "super"].map(|root| format!("{root}::{sibling}"));
            let reached = |path: &str| named.iter().any(|name| words(path, name).next().is_some());
            reached(&source.code) || imported.iter().any(|path| reached(path))
        })
        .map(|sibling| format!(": {module} imports {sibling}"))
        .collect()
}

/// A `SafeName` is the only way from a text of the network to a path: crates that read messages know no paths, and the
/// engine makes names, and paths of text, in files that are listed.
fn file_names(source: &Source) -> Vec<String> {
    let code = source.code_without_tests();
    let is = |crates: &[&str]| crates.iter().any(|name| is_of(source, name));
    let mut forbidden = Vec::new();
    if is(&["tur-core", "tur-sched", "tur-http", "tur-net"]) {
        forbidden.extend(["Path", "PathBuf", "OsString", "OsStr"]);
    }
    if is(&["tur-engine", "tur-storage", "tur-cli"]) {
        let except =
            |files: &[&str], word| (!files.contains(&source.path.as_str())).then_some(word);
        forbidden.extend(except(&NAMING_FILES, "FileName::new"));
        forbidden.extend(except(&DISPOSITION_FILES, "disposition"));
    }
    if is(&["tur-engine"]) && !PATH_FILES.contains(&source.path.as_str()) {
        forbidden.extend(["PathBuf::from", "Path::new"]);
    }
    said(source, &code, &forbidden, "makes a name or a path")
}

/// What the program says goes through one file, which escapes it.
fn streams(source: &Source) -> Vec<String> {
    if !is_of(source, "tur-cli") || STREAM_FILES.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let words = ["stdout", "stderr", "println", "eprintln", "print", "eprint"];
    said(
        source,
        &source.code_without_tests(),
        &words,
        "writes past console.rs",
    )
}

/// True for the sources of a crate, its tests aside.
fn is_of(source: &Source, name: &str) -> bool {
    let inside = source.path.strip_prefix(&format!("crates/{name}/src/"));
    inside.is_some_and(|path| !path.split(['/', '.']).any(|part| part == "tests"))
}

fn said(source: &Source, code: &str, forbidden: &[&str], why: &str) -> Vec<String> {
    let found = |word: &&str| words(code, word).next().map(|at| (at, word.to_string()));
    let found = forbidden.iter().filter_map(found);
    found
        .map(|(at, word)| format!(":{}: {word} {why}", source.line_of(at)))
        .collect()
}

/// Nothing that says "not yet" by panicking, and no print of a developer.
fn left_behind(source: &Source) -> Vec<String> {
    ["todo", "unimplemented", "dbg"]
        .iter()
        .flat_map(|name| words(&source.code, name).map(move |at| (name, at)))
        .filter(|(name, at)| source.code[at + name.len()..].starts_with('!'))
        .map(|(name, at)| format!(":{}: {name}!", source.line_of(at)))
        .collect()
}

fn ignored_tests(source: &Source) -> Vec<String> {
    words(&source.code, "ignore")
        .filter(|&at| source.code[..at].trim_end().ends_with("#["))
        .map(|at| format!(":{}: an ignored test", source.line_of(at)))
        .collect()
}

fn names(source: &Source) -> Vec<String> {
    let files = source
        .path
        .split('/')
        .map(|part| part.trim_end_matches(".rs"));
    let inline = words(&source.code, "mod").map(|at| {
        let rest = source.code[at + "mod".len()..].trim_start();
        rest.split(|c: char| !c.is_alphanumeric() && c != '_')
            .next()
            .unwrap_or("")
    });
    files
        .chain(inline)
        .filter(|name| {
            name.split(['_', '-'])
                .any(|part| EMPTY_NAMES.contains(&part))
        })
        .map(|name| format!(": {name} says nothing about its job"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sentences about one file that begins as it should.
    fn wrong(path: &str, code: &str) -> Vec<String> {
        check(&Source::new(path, &format!("//! Words.\n{code}\n")))
    }

    fn refused(path: &str, code: &str, sentence: &str) {
        let wrong = wrong(path, code);
        assert_eq!(wrong.len(), 1, "{code}: {wrong:?}");
        assert!(wrong[0].contains(sentence), "{code}: {wrong:?}");
    }

    #[test]
    fn a_tidy_file_passes() {
        let code = "// unsafe todo!()\n#![forbid(unsafe_code)]\nfn f() -> &'static str { \"unsafe { dbg!() }\" }";
        assert_eq!(
            wrong("crates/tur-core/src/a.rs", code),
            Vec::<String>::new()
        );
    }

    #[test]
    fn a_file_without_a_module_doc_is_refused() {
        for text in ["", "fn f() {}\n", "// Words.\n", "//!\n//! Words.\n"] {
            assert_eq!(check(&Source::new("a.rs", text)).len(), 1, "{text}");
        }
    }

    #[test]
    fn a_long_file_is_refused() {
        assert_eq!(wrong("a.rs", &"\n".repeat(FILE_LINES - 2)).len(), 0);
        refused("a.rs", &"\n".repeat(FILE_LINES), "lines; 600 are the limit");
    }

    #[test]
    fn a_long_function_is_refused_unless_it_says_why() {
        let long = |lines| format!("fn f() {{\n{}}}", "    g();\n    // why\n".repeat(lines));
        assert_eq!(wrong("a.rs", &long(FUNCTION_LINES)).len(), 0);
        refused("a.rs", &long(FUNCTION_LINES + 1), "f has 71 lines");
        let reason = "#[expect(clippy::too_many_lines, reason = \"one table\")]\n";
        assert_eq!(
            wrong("a.rs", &format!("{reason}{}", long(FUNCTION_LINES + 1))).len(),
            0
        );
    }

    #[test]
    fn a_second_unsafe_file_is_refused() {
        let code = "fn f(p: *const u8) -> u8 { unsafe { *p } }";
        assert_eq!(wrong(UNSAFE_FILES[0], code).len(), 0);
        refused("crates/tur-storage/src/pwrite.rs", code, ":2: unsafe");
        refused(
            "fuzz/fuzz_targets/admit.rs",
            "unsafe impl Send for X {}",
            ":2: unsafe",
        );
    }

    #[test]
    fn siblings_in_sched_are_strangers() {
        for code in [
            "use crate::scaler::Ladder;",
            "use crate::{ledger, scaler::Ladder};",
            "use super::{super::scaler};",
            "fn f(l: crate::scaler::Ladder) {}",
        ] {
            refused("crates/tur-sched/src/pool.rs", code, "pool imports scaler");
            refused(
                "crates/tur-sched/src/memory/lru.rs",
                code,
                "memory imports scaler",
            );
            assert_eq!(wrong("crates/tur-sched/src/transfer.rs", code).len(), 0);
            assert_eq!(
                wrong("crates/tur-sched/src/scaler/ladder.rs", code).len(),
                0
            );
        }
    }

    #[test]
    fn names_and_paths_are_made_where_it_is_said() {
        let path = "fn f(text: &str) -> std::path::PathBuf { std::path::PathBuf::from(text) }";
        refused("crates/tur-net/src/head.rs", path, "PathBuf makes a name");
        refused(
            "crates/tur-engine/src/driver/answer.rs",
            path,
            "PathBuf::from makes",
        );
        assert_eq!(wrong("crates/tur-engine/src/download.rs", path).len(), 0);
        let name = "fn f() { FileName::new(location); }";
        refused(
            "crates/tur-engine/src/driver/answer.rs",
            name,
            "FileName::new makes",
        );
        assert_eq!(wrong("crates/tur-engine/src/job.rs", name).len(), 0);
        assert_eq!(
            wrong("crates/tur-engine/src/driver/tests/stand.rs", name).len(),
            0
        );
        let tests = format!("#[cfg(test)]\nmod tests {{ {name} }}");
        assert_eq!(wrong("crates/tur-engine/src/region.rs", &tests).len(), 0);
        let field = "fn f(r: &Representation) { r.disposition.clone(); }";
        refused(
            "crates/tur-engine/src/driver/answer.rs",
            field,
            "disposition makes",
        );
        assert_eq!(
            wrong("crates/tur-engine/src/driver/filing.rs", field).len(),
            0
        );
    }

    #[test]
    fn the_program_speaks_through_one_file() {
        for code in [
            "fn f() { eprintln!(\"x\"); }",
            "fn f() { std::io::stderr().lock(); }",
        ] {
            refused("crates/tur-cli/src/run.rs", code, "writes past console.rs");
            assert_eq!(wrong("crates/tur-cli/src/console.rs", code).len(), 0);
            assert_eq!(wrong("crates/tur-engine/src/lib.rs", code).len(), 0);
        }
    }

    #[test]
    fn what_was_left_behind_is_refused() {
        refused("a.rs", "fn f() { todo!() }", ":2: todo!");
        refused(
            "a.rs",
            "fn f() {\n    unimplemented!() }",
            ":3: unimplemented!",
        );
        refused("a.rs", "fn f() { dbg!(1); }", "dbg!");
        assert_eq!(wrong("a.rs", "fn todo() {}").len(), 0);
    }

    #[test]
    fn an_ignored_test_is_refused() {
        refused(
            "a.rs",
            "#[test]\n#[ignore]\nfn f() {}",
            ":3: an ignored test",
        );
        refused(
            "a.rs",
            "#[test]\n#[ignore = \"slow\"]\nfn f() {}",
            "an ignored test",
        );
        assert_eq!(wrong("a.rs", "fn ignore() {}").len(), 0);
    }

    #[test]
    fn names_that_say_nothing_are_refused() {
        refused("crates/tur-core/src/util.rs", "", "util says nothing");
        refused(
            "crates/tur-core/src/lane_manager/run.rs",
            "",
            "lane_manager says nothing",
        );
        refused("a.rs", "mod test_helpers {}", "test_helpers says nothing");
        assert_eq!(wrong("a.rs", "mod futile;").len(), 0);
    }
}
