//! The program `tur`: arguments, files and environment in, pictures and exit codes out.
//!
//! Nothing about downloading is decided here. [`args::Args`] is what was typed, [`plan::Plan`] what it means,
//! [`run::run`] hands it to the engine and follows it, [`show::Show`] is the picture. [`batch`] is what several downloads
//! need; [`origins`] is a command beside it, [`stream`] one to standard output, [`serve`] one to players, and [`resume`]
//! goes on with what stopped.
#![forbid(unsafe_code)]

mod args;
mod batch;
mod bounds;
mod console;
mod field;
mod help;
mod human;
mod network;
mod origins;
mod plan;
mod quantity;
mod request;
mod resume;
mod run;
#[cfg(feature = "serve")]
mod serve;
mod show;
mod sign_in;
mod signals;
mod stream;

use std::env;
use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser as _;
use tur_engine::Kind;

use args::{Args, Command, Word};
use network::Environment;
use plan::{Plan, Surroundings};
use resume::Meant;
use sign_in::SignIn;

fn main() -> ExitCode {
    let mut words = env::args_os().collect();
    let word = args::take_word(&mut words, COMMANDS);
    let code = match Args::try_parse_from(words) {
        Ok(mut args) => match args.command.take() {
            Some(Command::Origins(what)) => origins::run(what, surroundings().origins),
            None if word == "resume" => match resume::meant(args) {
                Meant::Download(args) => download(*args),
                Meant::Said(code) => code,
            },
            None => download(Args {
                word: meaning(word),
                ..args
            }),
        },
        Err(error) if error.use_stderr() => usage(&args::one_line(&error)),
        Err(help) => {
            // Help and version. A reader who has seen enough of them closes the pipe: no failure.
            help.print().ok();
            0
        }
    };
    ExitCode::from(code)
}

/// Words that may stand in front of the flags of a download.
const COMMANDS: &[&str] = &[
    "stream",
    #[cfg(feature = "serve")]
    "serve",
    "resume",
];

fn meaning(word: &str) -> Word {
    match word {
        "stream" => Word::Stream,
        #[cfg(feature = "serve")]
        "serve" => Word::Serve,
        _ => Word::Download,
    }
}

fn download(args: Args) -> u8 {
    let plan = match planned(args) {
        Ok(plan) => plan,
        Err(why) => return usage(&why),
    };
    #[cfg(feature = "serve")]
    if let Some(serving) = plan.serving {
        return serve::run(plan, serving);
    }
    match plan.passage {
        Some(passage) => stream::run(plan, passage),
        None => run::run(plan),
    }
}

fn planned(mut args: Args) -> Result<Plan, String> {
    args.headers = field::with_files(args.headers)?;
    let list = match &args.input_file[..] {
        [] => None,
        [list] => Some(batch::read(list)?),
        // What is given twice counts the last time; half of what was to be downloaded must not go unnoticed.
        _ => return Err("-i is given twice: join the lists, as in cat A B | tur -i -".to_owned()),
    };
    let (sign_in, warnings) = SignIn::read(&args.sign_in, env::var_os("HOME"))?;
    let mut plan = Plan::new(args, list, surroundings())?;
    plan.job.sign_in = sign_in;
    for warning in warnings {
        console::say(&warning);
    }
    Ok(plan)
}

fn usage(why: &str) -> u8 {
    console::say(why);
    Kind::Usage.exit_code()
}

fn surroundings() -> Surroundings {
    let dumb = env::var_os("TERM").is_some_and(|name| name == "dumb");
    Surroundings {
        can_draw: io::stderr().is_terminal() && !dumb,
        origins: origins::file(env::var_os("XDG_STATE_HOME"), env::var_os("HOME")),
        here: env::current_dir().ok(),
        network: Environment::read(|name| env::var_os(name)),
    }
}
