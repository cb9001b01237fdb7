//! What `--help` says beside the flags.
//!
//! [`after`] is all of it. The bounds have a file of their own: [`crate::bounds`].

use crate::bounds::LIMITS;

/// What can be typed, a line each.
pub(crate) fn usage() -> String {
    let lines = [
        "tur [OPTIONS] <URL>...",
        "tur [OPTIONS] -i <LIST>",
        "tur stream [OPTIONS] <URL>",
        #[cfg(feature = "serve")]
        "tur serve [OPTIONS] <URL>...",
        "tur resume [OPTIONS] [PATH]",
        "tur origins [list [--json] | forget <ORIGIN> | forget --all]",
    ];
    lines.join("\n       ")
}

/// What stands below the flags.
pub(crate) fn after() -> String {
    let parts = [
        AFTER_HELP,
        #[cfg(feature = "serve")]
        SERVE,
        LISTS,
        LIMITS,
        EXIT_CODES,
    ];
    parts.join("\n\n")
}

#[cfg(feature = "serve")]
const SERVE: &str = "\
tur serve URL... prints a URL of this machine for each, its first lines of standard output, and serves the files there while they \
arrive: to mpv, VLC, ffmpeg or a browser, with ranges, as many at once as there are. What is sought comes first. Who knows such \
a URL can read the file, as long as tur runs. With -o FILE or -d DIR the files are downloaded whole and kept, as without 'serve'; with \
neither, up to 32 MiB ahead of each player are fetched, into a file without a name in $TMPDIR, which is gone with the program. It ends with \
Ctrl-C (130), when nobody was served for --idle SECS (0), or when every download has failed.";

const AFTER_HELP: &str = "\
Sizes and rates: K, M and G are 1024-based (256K). Durations are in seconds and may have a fraction.

While it runs, NAME.part and NAME.tur stand beside the target. They stay after a failure if bytes \
landed that can be used again: the same command goes on from there. Ctrl-C keeps what landed, of all files; a \
second one ends at once.

tur resume lists what stands unfinished in the directory of -d, and tur resume PATH goes on with one of it: PATH is the file, or its \
.part or .tur, and a relative one stands under -d. The URL is known, and whether the file is still the same is found out; what was \
asked for beside it is not known: credentials, cookies, -H and other flags have to be given again. Nothing to go on with is exit 3.

tur stream URL (or -o -) writes the file to standard output in order, while several connections fetch up to 32 MiB ahead; \
events (--json) go to standard error then. It passes through a file without a name in $TMPDIR, or in the directory of -d, which \
takes little more than that on Linux (and what the digest of --checksum has not read yet), and is gone with the program, however \
that ends: nothing of it can be resumed. Who closes the output ends it, with exit 3. -o /dev/null verifies the file in \
the same way and keeps nothing of it.

What was learned of a server (its response time, whether it serves ranges) is kept in \
$XDG_STATE_HOME/tur/origins [default: ~/.local/state], for 1000 servers and 90 days at most, without \
paths, names or credentials. 'tur origins' shows it.

Proxies come from --proxy, else from the environment as with curl: http_proxy (in lower case only), https_proxy, all_proxy, \
and no_proxy for exceptions; no host is an exception by itself, not even localhost. A proxy's credentials are for the proxy \
alone. With --no-private, a proxy that looks names up is used only for origins given as addresses: use socks5:// then. \
SSLKEYLOGFILE names a file that the keys of all TLS connections are written to.";

const LISTS: &str = "\
Lists (-i) have one URL a line. Indented lines below a URL are its options:
    http://example.org/a.iso
      out=first.iso            as -o; a relative one stands under the directory
      dir=images               as -d, and in its place
      checksum=sha256:9f86...  as --checksum
      header=X-Key: 1234       as -H, for this URL alone, in place of a -H of that name (repeatable)
A dir= above all URLs is that of those which have none. A URL with done=FILE is not downloaded: that file is it, and is not \
taken to be another URL's; --save-session writes such lines.
Blank lines and lines that begin with # are skipped. All of a list is checked before anything begins: what is not \
understood is exit 2, with its line. A list may write wherever you may: take one from nobody whom you would not \
let type a command.

Each file succeeds or fails by itself; the exit code is the first that occurred of 9, 3, 10, 11, 5, 6, 8, 4, 7, 13, \
14, 15, 12, 1. Files that would have the same name are downloaded one after the other, and --exists holds for \
the later one. -H, -e, -u, --bearer and -b NAME=VALUE go to the first origin of each URL. Cookies that \
servers set are kept for one download, and go to whom they are for.";

const EXIT_CODES: &str = "\
Exit codes:
    0  every file is complete and verified
    1  anything else
    2  usage: arguments, URL, configuration
    3  a local file: exists, not writable, vanished
    4  network: DNS, connect, time-out, too slow
    5  TLS: certificate, handshake
    6  authentication is needed, by a server or a proxy
    7  the answer is not valid HTTP, or its coding is damaged
    8  the server refused or could not, or its type is not accepted
    9  no space, quota or file-size limit
   10  the digest does not match
   11  the file changed on the server
   12  not resumable, and --require-resume asks for that
   13  refused by policy: https to http, unsafe name, private address
   14  a bound was hit: redirects, size of the head, growth by --decode
   15  another tur works on this target
  130  interrupted; 143 by SIGTERM; what landed is kept";

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::args::Args;

    /// What stands below the flags and has to.
    const WORDS: [&str; 4] = [
        "SSLKEYLOGFILE",
        "all_proxy",
        "XDG_STATE_HOME",
        "tur origins",
    ];

    /// Every flag that the program takes is shown with its value and a sentence, and an alias with its flag.
    #[test]
    fn help_names_every_flag() {
        let command = Args::command();
        let help = command.clone().render_help().to_string();
        let flags: Vec<_> = command
            .get_arguments()
            .filter(|flag| !flag.is_positional())
            .collect();
        assert!(flags.len() > 60, "only {} flags", flags.len());
        for flag in flags {
            let name = flag.get_id();
            assert!(!flag.is_hide_set(), "{name} is hidden");
            let said = flag.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(said.len() > 8, "{name} says nothing of itself");
            let short = flag.get_short().map(|short| format!("-{short}"));
            let long = flag.get_long().map(|long| format!("--{long}"));
            let both = [short, long]
                .into_iter()
                .flatten()
                .collect::<Vec<_>>()
                .join(", ");
            let begins = help.lines().any(|line| {
                let rest = line.trim_start().strip_prefix(both.as_str());
                rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '.']))
            });
            assert!(begins, "{both} is missing:\n{help}");
            for alias in flag.get_all_aliases().unwrap_or_default() {
                assert!(help.contains(&format!("--{alias}")), "{alias} is missing");
            }
        }
    }

    #[test]
    fn help_names_every_exit_code() {
        let help = Args::command().render_help().to_string();
        for word in WORDS {
            assert!(help.contains(word), "{word} is missing:\n{help}");
        }
        let codes = help
            .split_once("Exit codes:")
            .map(|(_, codes)| codes)
            .unwrap_or_default();
        let is_code = |code: u8| {
            codes
                .split_whitespace()
                .any(|word| word.trim_end_matches(':') == code.to_string())
        };
        for code in (0..=15).chain([130]) {
            assert!(is_code(code), "{code} is missing:\n{help}");
        }
    }
}
