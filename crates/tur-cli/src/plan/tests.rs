//! What arguments come to, and which cannot be meant.

use clap::Parser as _;

use super::*;

fn plan_on(can_draw: bool, args: &[&str]) -> Result<Plan, String> {
    let args = Args::try_parse_from(["tur"].iter().chain(args)).expect("the syntax is right");
    let around = Surroundings {
        can_draw,
        origins: Some("/state".into()),
        here: Some("/here".into()),
        network: Environment::default(),
    };
    let list = (!args.input_file.is_empty()).then(List::default);
    Plan::new(args, list, around)
}

fn plan(args: &[&str]) -> Plan {
    plan_on(true, args).unwrap_or_else(|why| panic!("{args:?}: {why}"))
}

fn refused(args: &[&str]) -> String {
    plan_on(true, args).map(drop).expect_err("refused")
}

#[test]
fn without_flags_the_engine_decides() {
    let Plan {
        items,
        job,
        several,
        at_once,
        session,
        show,
        passage,
        #[cfg(feature = "serve")]
        serving,
    } = plan(&["http://h/f"]);
    assert_eq!((items.len(), items.url(0)), (1, "http://h/f"));
    assert!(passage.is_none(), "it is saved");
    #[cfg(feature = "serve")]
    assert!(serving.is_none(), "nobody watches");
    assert!(!several && at_once == 4 && session.is_none() && !job.downgrade);
    assert!(job.file.is_none() && job.dir.is_none() && job.lanes.is_none());
    assert!(job.fields.is_empty() && job.credentials.is_none());
    assert!(job.rate.is_none() && job.rate_per_file.is_none());
    assert_eq!(job.limits.retry, RetryPolicy::default());
    assert!(job.remote_time && !job.create_dirs);
    assert_eq!(job.storage, StorageKind::Auto);
    assert_eq!(
        plan(&["--storage", "mmap", "u"]).job.storage,
        StorageKind::Mmap
    );
    assert_eq!(job.origins, Some("/state".into()));
    assert_eq!(plan(&["--no-origin-memory", "u"]).job.origins, None);
    assert_eq!((show.face, show.detail), (Face::Bar, Detail::Normal));
}

#[test]
fn starting_with_many_lanes_raises_the_ceiling() {
    for (args, lanes, start) in [
        (&["u"][..], None, None),
        (&["-x", "4", "-s", "4", "u"], Some(4), Some(4)),
        (&["-s", "8", "u"], None, Some(8)),
        (&["-s", "32", "u"], None, Some(32)),
        (&["-s", "33", "u"], Some(33), Some(33)),
    ] {
        let job = plan(args).job;
        assert_eq!((job.lanes, job.start_lanes), (lanes, start), "{args:?}");
    }
}

#[test]
fn limits_of_connections_are_read_and_may_be_below_the_lanes() {
    let job = plan(&[
        "--max-connections",
        "7",
        "--max-per-origin",
        "3",
        "-x",
        "40",
        "u",
    ])
    .job;
    let read = (job.connections, job.per_origin, job.lanes);
    assert_eq!(read, (Some(7), Some(3), Some(40)));
    let job = plan(&["u"]).job;
    assert_eq!((job.connections, job.per_origin), (None, None));
}

#[test]
fn demands_are_read() {
    let job = plan(&["u"]).job;
    let demands = job.demands;
    assert!(demands.types.is_empty() && !demands.length && !demands.resume);
    assert!(!demands.public && !job.decode && !job.keep_bad);
    let job = plan(&[
        "--accept-type",
        "image/*",
        "--accept-type=application/zip",
        "--require-length",
        "--require-resume",
        "--no-private",
        "--decode",
        "u",
    ])
    .job;
    let demands = job.demands;
    let types: Vec<_> = demands.types.iter().map(ToString::to_string).collect();
    assert_eq!(types, ["image/*", "application/zip"]);
    assert!(demands.length && demands.resume && demands.public && job.decode);
}

#[test]
fn limits_are_read() {
    let limits = plan(&[
        "--retry",
        "0",
        "--max-wait",
        "1.5",
        "--speed-limit",
        "2K",
        "--max-time",
        "9",
        "--connect-timeout",
        "3",
        "--read-timeout",
        "4",
        "u",
    ])
    .job
    .limits;
    assert_eq!(
        (limits.retry.retries, limits.retry.wait_max),
        (0, Duration::from_millis(1_500))
    );
    assert_eq!(limits.retry.base, RetryPolicy::default().base);
    let floor = limits.speed.expect("a floor");
    assert_eq!(
        (floor.rate.bytes_per_second(), floor.over),
        (2_048, SPEED_TIME_DEFAULT)
    );
    let secs = |n| Some(Duration::from_secs(n));
    assert_eq!(
        (limits.whole, limits.connect, limits.read),
        (secs(9), secs(3), secs(4))
    );
}

#[test]
fn what_cannot_be_meant_is_refused() {
    for (args, part) in [
        (&[][..], "Give a URL"),
        (
            &["-o", "a", "http://h/a", "http://h/b"],
            "-o is for one URL",
        ),
        (&["-o", "a", "-i", "l"], "-o is for one URL"),
        (&["--keep-bad", "u"], "--keep-bad needs a --checksum"),
        (
            &["--checksum", "md5:00", "-i", "l"],
            "--checksum is for one URL",
        ),
        (
            &["--save-session", "s", "-d", "a\nb", "u"],
            "--save-session",
        ),
        (&["-o", "", "u"], "-o: the name is empty"),
        (&["-d", "", "u"], "-d: the name is empty"),
        (&["-o", "-", "u", "v"], "one file"),
        (&["--from", "5", "u"], "tur stream"),
        (&["-o", "/dev/null", "u", "v"], "more than one URL"),
        (&["-x", "2", "-s", "3", "u"], "-s 3 is more than -x 2"),
        (
            &["--max-per-origin", "2", "-s", "3", "u"],
            "-s 3 is more than --max-per-origin 2",
        ),
        (
            &["--max-connections", "2", "-s", "3", "u"],
            "-s 3 is more than --max-connections 2",
        ),
        (&["-u", "me", "u"], "USER:PASS"),
        (&["-H", "X: a\r\nY: b", "u"], "-H: X"),
        (&["-e", "a\nb", "u"], "-e: Referer"),
        (&["-U", "a\nb", "u"], "-U: "),
        (&["--checksum", "sha256:zz", "u"], "--checksum: "),
        (&["--checksum", "crc7:00", "u"], "--checksum: "),
        (
            &["--accept-type", "image/*", "--accept-type", "png", "u"],
            "--accept-type \"png\"",
        ),
        (&["--accept-type", "image/*,text/*", "u"], "--accept-type"),
        (
            &["--json", "--progress", "bar", "u"],
            "--json and --progress",
        ),
        (&["-q", "--progress", "line", "u"], "-q and --progress"),
    ] {
        let said = refused(args);
        assert!(said.contains(part), "{args:?}: {said}");
    }
}

#[test]
fn the_picture_depends_on_the_terminal() {
    for (args, can_draw, face, detail) in [
        (&["u"][..], false, Face::Lines, Detail::Normal),
        (
            &["--progress", "bar", "u"],
            false,
            Face::Lines,
            Detail::Normal,
        ),
        (
            &["--progress", "line", "-v", "u"],
            true,
            Face::Lines,
            Detail::Lanes,
        ),
        (
            &["--progress", "none", "u"],
            true,
            Face::Plain,
            Detail::Normal,
        ),
        (&["-q", "u"], true, Face::Plain, Detail::Quiet),
        (&["--json", "-q", "u"], true, Face::Json, Detail::Quiet),
        (
            &["--json", "--progress", "json", "-vvv", "u"],
            true,
            Face::Json,
            Detail::Decisions,
        ),
    ] {
        let show = plan_on(can_draw, args)
            .unwrap_or_else(|why| panic!("{why}"))
            .show;
        assert_eq!(show, Show { face, detail }, "{args:?}");
    }
}

#[test]
fn fields_keep_their_order() {
    let job = plan(&[
        "-H",
        "A: b",
        "-e",
        "http://r/",
        "-H",
        "C;",
        "-u",
        "me:pw:",
        "u",
    ])
    .job;
    let pairs: Vec<_> = job
        .fields
        .iter()
        .map(|f| (f.name.as_str(), f.value.expose()))
        .collect();
    assert_eq!(
        pairs,
        [("A", &b"b"[..]), ("C", b""), ("Referer", b"http://r/")]
    );
    let credentials = job.credentials.expect("given");
    assert_eq!(
        (credentials.user.expose(), credentials.password.expose()),
        (&b"me"[..], &b"pw:"[..])
    );
}

#[test]
fn several_urls_and_any_list_make_a_batch() {
    for (args, several, items) in [
        (&["u"][..], false, 1),
        (&["u", "v"], true, 2),
        (&["-i", "l"], true, 0),
        (&["-i", "l", "u"], true, 1),
    ] {
        let plan = plan(args);
        assert_eq!(
            (plan.several, plan.items.len()),
            (several, items),
            "{args:?}"
        );
    }
    assert!(plan(&["--keep-bad", "-i", "l"]).job.keep_bad);
    assert_eq!(plan(&["-j", "16", "u"]).at_once, 16);
    assert!(plan(&["--allow-downgrade", "u"]).job.downgrade);
    assert!(plan(&["--save-session", "s", "u"]).session.is_some());
}
