//! `tur serve` between a slow origin and programs that read URLs: what they get is what the file has.
//!
//! Read [`CHECKS`]. The film is one that ffmpeg makes, with its index at the end, as it does by itself; the origin is the
//! testkit's, because it is slow on each connection and counts what it sends.
#![expect(
    clippy::disallowed_methods,
    reason = "it runs other programs and reads what they made; nothing here is part of tur"
)]

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tur_core::Rate;
use tur_testkit::{Behaviour, Loopback};

use super::{Check, check, needing};
use crate::interop::field::Field;
use crate::interop::process::{bound_to_us, finish, read};
use crate::interop::table::Found;

/// Checks of `tur serve`.
pub(super) const CHECKS: &[Check] = &[
    needing(
        "--idle",
        check(
            "ffmpeg",
            "a film from its minute on, through tur serve",
            from_a_minute_on,
        ),
    ),
    needing(
        "--idle",
        check(
            "curl",
            "a film by ranges and as a whole, through tur serve",
            by_ranges,
        ),
    ),
];

/// What each connection of the origin brings.
const PACE: Rate = Rate::per_second(4 << 20);
/// How long the film is.
const FILM_SECONDS: u64 = 80;
/// How long a program may take, on a machine that is busy.
const RUN_MAX: Duration = Duration::from_secs(300);

/// Seeks, decodes what follows, and compares the digest of each frame with that of the file itself.
fn from_a_minute_on(field: &Field) -> Result<Found> {
    let film = film(field)?;
    let stage = Stage::set(field, &film)?;
    let meant = frames(field, &film.to_string_lossy())?;
    let start = Instant::now();
    let had = frames(field, &stage.url)?;
    let took = start.elapsed().as_secs_f64();
    ensure!(had == meant, "WRONG FRAMES: {}", had.replace('\n', " / "));
    let count = meant.lines().filter(|line| !line.starts_with('#')).count();
    ensure!(count > 100, "only {count} frames");
    let (sent, size) = stage.end()?;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    Ok(Found::none(format!(
        "{count} equal frames in {took:.1} s; the origin sent {:.1} of {:.1} MiB",
        mib(sent),
        mib(size)
    )))
}

/// Asks for parts and for all of it.
fn by_ranges(field: &Field) -> Result<Found> {
    let film = film(field)?;
    let stage = Stage::set(field, &film)?;
    let bytes = std::fs::read(&film)?;
    let (size, half) = (bytes.len(), bytes.len() / 2);
    for (range, part, status) in [
        ("0-0".to_owned(), &bytes[..1], "206"),
        (
            format!("{half}-{}", half + 70_000),
            &bytes[half..=half + 70_000],
            "206",
        ),
        ("-1000".to_owned(), &bytes[size - 1000..], "206"),
        (format!("{half}-"), &bytes[half..], "206"),
        // Several ranges get all of it, which is lawful, and what curl takes.
        ("0-1,5-6".to_owned(), &bytes[..], "200"),
    ] {
        let (had, told) = curl(field, &stage.url, &["--range", &range])?;
        ensure!(told == status, "{range}: status {told}");
        ensure!(
            had == part,
            "WRONG BYTES: {} of them for {range}",
            had.len()
        );
    }
    let behind = format!("{size}-");
    let (_, told) = curl(field, &stage.url, &["--range", &behind])?;
    ensure!(told == "416", "behind the end: status {told}");
    stage.end()?;
    Ok(Found::none("curl: all parts right"))
}

/// `tur serve`, and the origin behind it.
struct Stage {
    origin: Loopback,
    size: u64,
    child: Child,
    url: String,
}

impl Stage {
    fn set(field: &Field, film: &Path) -> Result<Self> {
        let bytes = std::fs::read(film)?;
        let size = bytes.len() as u64;
        let behaviour = Behaviour::of(bytes).media_type("video/mp4").pace(PACE);
        let origin = Loopback::start([("/film.mp4", behaviour)]);
        let folder = field.folder()?;
        let mut command = bound_to_us(&field.programs.setpriv, "KILL", &field.tur);
        // It ends by itself if nobody comes, so that its first line is not waited for without a limit.
        command
            .args(["serve", "--no-origin-memory", "--idle", "120"])
            .arg(origin.url("/film.mp4"))
            .env_clear()
            .env("HOME", &folder)
            .env("TMPDIR", &folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(folder.join("words"))?);
        let mut child = command.spawn().context("cannot start tur")?;
        let stdout = child.stdout.take().context("it has an output")?;
        let mut url = String::new();
        BufReader::new(stdout).read_line(&mut url)?;
        ensure!(
            url.starts_with("http://127.0.0.1:"),
            "it said {url:?} first"
        );
        Ok(Self {
            origin,
            size,
            child,
            url: url.trim_end().to_owned(),
        })
    }

    /// Interrupts it; what the origin has sent, and what the film has.
    fn end(mut self) -> Result<(u64, u64)> {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-INT", &pid]).status()?;
        ensure!(asked.success(), "it is gone");
        let code = finish(&mut self.child, RUN_MAX)?.code();
        ensure!(code == Some(130), "it ended with {code:?} by Ctrl-C");
        Ok((self.origin.bytes_sent(), self.size))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // One that has ended cannot be killed, and that is as good.
        if matches!(self.child.try_wait(), Ok(None)) && self.child.kill().is_ok() {
            self.child.wait().ok();
        }
    }
}

/// A film of which nothing can be left out: pictures with noise. It is made once.
fn film(field: &Field) -> Result<PathBuf> {
    let film = field.downloads.join("film.mp4");
    if film.exists() {
        return Ok(film);
    }
    let picture =
        format!("testsrc2=size=640x360:rate=25:duration={FILM_SECONDS},noise=alls=40:allf=t");
    let sound = format!("sine=frequency=440:duration={FILM_SECONDS}");
    let rate = ((field.film_mib << 23) / FILM_SECONDS).to_string();
    let mut words = vec!["-f", "lavfi", "-i", &picture, "-f", "lavfi", "-i", &sound];
    words.extend([
        "-c:v", "mpeg4", "-b:v", &rate, "-maxrate", &rate, "-bufsize", &rate,
    ]);
    words.extend(["-qmin", "1", "-g", "50", "-c:a", "aac", "-f", "mp4"]);
    // Under another name until it is whole.
    let begun = film.with_extension("begun");
    ffmpeg(field, &words, &begun)?;
    std::fs::rename(begun, &film)?;
    Ok(film)
}

/// A digest of each frame from the sixtieth second on.
fn frames(field: &Field, of: &str) -> Result<String> {
    let to = field.folder()?.join("frames");
    ffmpeg(field, &["-ss", "60", "-i", of, "-f", "framehash"], &to)?;
    Ok(read(&to))
}

fn ffmpeg(field: &Field, words: &[&str], to: &Path) -> Result<()> {
    let log = to.with_extension("log");
    let mut command = bound_to_us(&field.programs.setpriv, "KILL", &field.programs.ffmpeg);
    command
        .args(["-nostdin", "-y", "-v", "error"])
        .args(words)
        .arg(to)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(File::create(&log)?);
    let mut child = command.spawn().context("cannot start ffmpeg")?;
    let status = finish(&mut child, RUN_MAX)?;
    ensure!(status.success(), "ffmpeg: {}", read(&log));
    Ok(())
}

/// The bytes that curl gets, and the status that it tells.
fn curl(field: &Field, url: &str, words: &[&str]) -> Result<(Vec<u8>, String)> {
    let folder = field.folder()?;
    let file = folder.join("part");
    let mut command = bound_to_us(&field.programs.setpriv, "KILL", &field.programs.curl);
    command
        .args([
            "-q",
            "--silent",
            "--show-error",
            "--write-out",
            "%{http_code}",
            "-o",
        ])
        .arg(&file)
        .args(words)
        .arg(url)
        .env_clear()
        .stdin(Stdio::null())
        .stdout(File::create(folder.join("status"))?)
        .stderr(File::create(folder.join("words"))?);
    let mut child = command.spawn().context("cannot start curl")?;
    let status = finish(&mut child, RUN_MAX)?;
    ensure!(status.success(), "curl: {}", read(&folder.join("words")));
    let bytes = std::fs::read(&file).unwrap_or_default();
    Ok((bytes, read(&folder.join("status"))))
}
