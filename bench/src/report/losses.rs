//! The chapter at the top of the page: every figure of minimio that is behind, worst first.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::figures::{described, All, Rounds, BENCHES, HIGHER, TOKIO};
use crate::measure::{floor, TOKIO_FLOOR};

const MIO: [&str; 2] = ["mio-short-read", "mio-drained"];
const TOKIO_OURS: [&str; 2] = ["tokio-on-minimio", "tokio-on-minimio-lend"];

/// Why a figure is behind, where that is known: a part of the platform, the benchmark, a part of its setting, the figure,
/// and the explanation. An empty part fits everything, and the first one that fits is used.
const EXPLAINED: [(&str, &str, &str, &str, &str); 17] = [
    (
        "linux",
        "memory",
        "",
        "handle_bytes",
        "A handle is a pointer to what the table of the queue points to, too. That of the others is a descriptor.",
    ),
    ("", "memory", "", "handle_bytes", "The size of the type itself."),
    (
        "linux",
        "rearm",
        "unknown",
        "",
        "The last read filled its buffer, so the registration is a system call that also asks whether there is more. \
         mio makes no such call by itself.",
    ),
    (
        "wine",
        "rearm",
        "",
        "",
        "A registration starts the receive that brings the bytes: two requests to the Wine server. mio's makes one if a \
         thread waits, to cancel a poll that this thread then starts anew, and none otherwise. In exchange `read` finds \
         the bytes in memory, where mio's makes three requests.",
    ),
    (
        "wine",
        "bulk",
        "send, ",
        "cpu_us_per_msg",
        "This server stops at a short write. The registration behind it is an event at once, and only the next write finds \
         the socket full and starts a send. `minimio-drained` makes that write at once.",
    ),
    (
        "wine",
        "wake",
        "latency",
        "",
        "It makes the same requests to the Wine server as mio: one for the wake, and four for the wait.",
    ),
    (
        "linux",
        "growth",
        "",
        "queue_kib",
        "A queue has 16 KiB of events beside those that the kernel fills in, and 136 bytes a stream, which remember what \
         each registration waits for and how the stream has ended. The others keep a stream's descriptor and nothing else.",
    ),
    (
        "linux",
        "growth",
        "",
        "register_us",
        "`from_std` makes the socket non-blocking, which the others leave to their user, and asks whether it is connected: \
         two system calls, 0.29 and 0.44 of `bare`'s time. An allocation, a place in the table and two locks are 0.32.",
    ),
    (
        "linux",
        "memory",
        "",
        "",
        "120 bytes a stream and 16 in the table remember what each registration waits for and how the stream has ended. The \
         others keep a stream's descriptor and nothing else.",
    ),
    (
        "wine",
        "memory",
        "",
        "heap_bytes",
        "It includes the memory that is lent to the kernel.",
    ),
    (
        "wine",
        "growth",
        "",
        "queue_kib",
        "It includes the memory that is lent to the kernel.",
    ),
    (
        "linux",
        "uds",
        "",
        "cpu_us_per_msg",
        "A read is a `recvmsg`, which also tells whether a short read has stopped behind a descriptor that was sent along. \
         The others call `recv`.",
    ),
    (
        "linux",
        "",
        "",
        "calls_per_msg",
        "A receive and a send a message, and waits. How many connections a wait finds ready depends on how fast the load \
         is just then. A stream whose reads fill their buffer has one `epoll_ctl` more, after the first of them. There \
         is no other call.",
    ),
    (
        "linux",
        "build",
        "",
        "compile_s",
        "The compiler is handed four times as many lines as for mio: see the chapter `build`.",
    ),
    (
        "linux",
        "build",
        "",
        "program_bytes",
        "What turns edges into one event for each registration, and its tables: see the chapter `build`.",
    ),
    (
        "",
        "build",
        "",
        "",
        "`bare` has one dependency, which only declares the system's functions.",
    ),
    ("", "", "", "p999_us", "One message in a thousand: a few events of the machine decide it."),
];

/// The ratio of two latencies that are next to each other: they are counted in buckets that are 1/32 wide.
const ONE_BUCKET: f64 = 33.0 / 32.0;

/// If minimio is behind in each of so many rounds or more, it is behind. Chance alone would do that once in 32 figures.
const ROUNDS_IN_A_ROW: usize = 5;

/// Less than this difference between two numbers of system calls per message is noise: one wait in a hundred messages.
const SOME_CALLS: f64 = 0.01;

fn is_latency(figure: &str) -> bool {
    ["p50_us", "p99_us", "p999_us"].contains(&figure)
}

/// A figure that is behind.
#[derive(Debug)]
struct Loss {
    /// How many times as bad as what it is behind most.
    factor: f64,
    name: String,
    figure: String,
    to_floor: Option<f64>,
    noise: (f64, f64),
    /// The ratio to the implementation of mio that it is behind most.
    to_mio: Option<f64>,
    why: &'static str,
}

/// What was counted on one platform.
#[derive(Debug, Default)]
struct Counted {
    compared: usize,
    losses: Vec<Loss>,
    /// Figures that are behind mio by less than the noise.
    within_noise: usize,
}

pub fn chapter(all: &All) -> String {
    let mut text = String::from(HEAD);
    let mut platforms: BTreeMap<&str, Counted> = BTreeMap::new();
    for ((platform, index), settings) in all {
        let counted = platforms.entry(platform).or_default();
        for setting in settings {
            count(counted, platform, *index, &setting.title, &setting.rounds);
        }
    }
    for (platform, mut counted) in platforms {
        let losses = &mut counted.losses;
        losses.sort_by(|one, other| other.factor.total_cmp(&one.factor));
        let system = platform.split('-').next().unwrap_or_default();
        let title = match system {
            "linux" => "Linux",
            "wine" => "Wine",
            other => other,
        };
        _ = writeln!(
            text,
            "\n### {title}\n\n{} of {} figures are behind. {} more are behind mio by less than the noise.",
            losses.len(),
            counted.compared,
            counted.within_noise
        );
        if losses.is_empty() {
            continue;
        }
        text.push_str("\n| | figure | to `bare` | noise | to mio | what it is |\n| --- | --- | --- | --- | --- | --- |\n");
        for loss in losses {
            text.push_str(&loss.row());
        }
    }
    text
}

const HEAD: &str = "
## Where minimio loses

Each figure of minimio that is worse than that of `bare`, or than mio's, by more than the noise, worst first. The
*noise* is the range of the ratios of `bare-again` to `bare`, without the outermost tenth of the rounds at either end.
Both are the same code, so the larger deviation counts in both directions: 0.80 to 1.10 counts as 0.80 to 1.25. A figure
is behind if the median of its ratios is outside of that. It is also behind if the median is outside on the worse side
of the range as measured, and minimio was worse in each of five or more rounds. The column *to mio* has the better of
mio's two variants. A cost that is behind has a ratio above 1, and messages a second or a throughput that is behind has
a ratio below 1. A latency is counted in buckets that are 3 % wide, so a difference of one bucket is noise, too, and so
is one of less than one system call in 100 messages. A server of tokio is compared with the same one on mio.
";

impl Loss {
    fn row(&self) -> String {
        let number =
            |ratio: Option<f64>| ratio.map_or(String::new(), |ratio| format!("{ratio:.3}"));
        let (least, most) = self.noise;
        format!(
            "| {} | {} | {} | {least:.3} to {most:.3} | {} | {} |\n",
            self.name,
            self.figure,
            number(self.to_floor),
            number(self.to_mio),
            self.why
        )
    }
}

fn count(counted: &mut Counted, platform: &str, index: usize, title: &str, rounds: &Rounds) {
    let (bench, ..) = BENCHES[index];
    let ours: &[&str] = match bench {
        TOKIO => &TOKIO_OURS,
        _ => &["minimio"],
    };
    for name in ours {
        for figure in figures(bench, rounds, name) {
            let (described, _, better) = described(bench, figure);
            // How many times as bad a ratio is as 1.
            let badness = |ratio: f64| match better {
                HIGHER => 1.0 / ratio,
                _ => ratio,
            };
            let ratio = |to: &str| Some(rounds.ratio(name, to, figure)?.median);
            let floor = Some(floor(bench)).filter(|_| bench != TOKIO);
            let rivals: &[&str] = match bench {
                TOKIO => &[TOKIO_FLOOR],
                _ => &MIO,
            };
            let to_floor = floor.and_then(ratio);
            let to_mio = rivals.iter().filter_map(|rival| ratio(rival));
            let to_mio = to_mio.max_by(|one, other| badness(*one).total_cmp(&badness(*other)));
            if to_floor.is_none() && to_mio.is_none() {
                continue;
            }
            counted.compared += 1;
            let noise = rounds.noise(bench, figure);
            let exact_to = if is_latency(figure) { ONE_BUCKET } else { 1.0 };
            let worst_of_noise = badness(noise.0).max(badness(noise.1)).max(exact_to);
            // Which of the two measurements of `bare` is the later one says nothing, so the noise goes as far both ways.
            let best_of_noise = badness(noise.0).min(badness(noise.1));
            let both_ways = worst_of_noise.max(1.0 / best_of_noise);
            // How many times as bad minimio is as another, if it is behind that one.
            let behind = |to: &str| {
                let factor = badness(ratio(to)?);
                let ratios = rounds.ratios(name, rounds, to, figure);
                let each_time =
                    ratios.len() >= ROUNDS_IN_A_ROW && ratios.iter().all(|one| badness(*one) > 1.0);
                let differs = figure != "calls_per_msg"
                    || rounds.median(name, figure)? - rounds.median(to, figure)? >= SOME_CALLS;
                let is_behind = factor > both_ways || (factor > worst_of_noise && each_time);
                (is_behind && differs).then_some(factor)
            };
            let all = floor.iter().chain(rivals);
            let factor = all.filter_map(|to| behind(to)).max_by(f64::total_cmp);
            let Some(factor) = factor else {
                let is_behind_mio = to_mio.is_some_and(|ratio| badness(ratio) > 1.0);
                counted.within_noise += usize::from(is_behind_mio);
                continue;
            };
            let variant = match name.strip_prefix("tokio-on-minimio-") {
                Some(variant) => format!(", {variant}"),
                None => String::new(),
            };
            let title = format!("{title}{variant}");
            counted.losses.push(Loss {
                factor,
                name: match title.as_str() {
                    "" => format!("`{bench}`"),
                    title => format!("`{bench}`, {title}"),
                },
                figure: described,
                to_floor,
                noise,
                to_mio,
                why: explanation(platform, bench, &title, figure),
            });
        }
    }
}

/// The figures that count: those that are not another one in other units.
fn figures<'a>(bench: &str, rounds: &'a Rounds, name: &str) -> Vec<&'a str> {
    let all = rounds.of.get(name).into_iter().flat_map(BTreeMap::values);
    let mut figures: Vec<&str> = all
        .flat_map(BTreeMap::keys)
        .map(String::as_str)
        .filter(|figure| match bench {
            "rearm" => *figure == "ns_per_register",
            // That of the most idle connections has a name with their number, too.
            "idle" => *figure != "cpu_us_per_msg" && !figure.starts_with("flat_"),
            _ => true,
        })
        .filter(|figure| !described(bench, figure).2.is_empty())
        .collect();
    figures.sort_unstable();
    figures.dedup();
    figures
}

fn explanation(platform: &str, bench: &str, title: &str, figure: &str) -> &'static str {
    let fits = |(on, of, part, prefix, _): &&(&str, &str, &str, &str, &str)| {
        platform.starts_with(on)
            && (of.is_empty() || *of == bench)
            && title.contains(part)
            && figure.starts_with(prefix)
    };
    EXPLAINED.iter().find(fits).map_or("", |(.., why)| why)
}

#[cfg(test)]
mod tests {
    use super::super::figures::tests::{line, read};
    use super::*;

    /// The chapter of one figure: that of bare, bare again, minimio and mio.
    fn chapter_of(figure: &str, values: [f64; 4]) -> String {
        let names = ["bare", "bare-again", "minimio", "mio-drained"];
        let lines = names
            .into_iter()
            .zip(values)
            .map(|(name, value)| line("echo", name, 16, figure, value));
        chapter(&read(&lines.collect::<Vec<_>>()))
    }

    const ONE: &str = "1 of 1 figures are behind";
    const NONE: &str = "0 of 1 figures are behind";

    #[test]
    fn a_cost_beyond_the_noise_is_a_loss() {
        let text = chapter_of("cpu_us_per_msg", [1.0, 1.02, 1.05, 2.0]);
        assert!(
            text.contains(ONE) && text.contains("| 1.050 | 1.020 to 1.020 | 0.525 |"),
            "{text}"
        );
        let text = chapter_of("cpu_us_per_msg", [1.0, 1.02, 1.01, 2.0]);
        assert!(text.contains(NONE), "{text}");
    }

    #[test]
    fn fewer_messages_are_a_loss_and_more_are_none() {
        let text = chapter_of("msgs_per_s", [1.0, 0.99, 0.9, 0.5]);
        assert!(text.contains(ONE), "{text}");
        let text = chapter_of("msgs_per_s", [1.0, 0.99, 1.5, 1.0]);
        assert!(text.contains(NONE), "{text}");
    }

    #[test]
    fn a_bucket_of_latency_is_noise() {
        let text = chapter_of("p50_us", [32.0, 32.0, 33.0, 33.0]);
        assert!(text.contains(NONE), "{text}");
        let text = chapter_of("p50_us", [32.0, 32.0, 34.0, 34.0]);
        assert!(text.contains(ONE), "{text}");
    }

    /// The chapter of one cost: that of `bare`, again and of minimio in each round.
    fn chapter_of_rounds(figure: &str, rounds: &[[f64; 3]]) -> String {
        let names = ["bare", "bare-again", "minimio"];
        let lines = rounds.iter().flat_map(|values| {
            let lines = names.into_iter().zip(values);
            lines.map(|(name, value)| line("echo", name, 16, figure, *value))
        });
        chapter(&read(&lines.collect::<Vec<_>>()))
    }

    #[test]
    fn the_noise_goes_as_far_the_other_way() {
        let rounds = [[1.0, 0.8, 1.1], [1.0, 0.9, 1.1], [1.0, 1.0, 0.9]];
        let text = chapter_of_rounds("cpu_us_per_msg", &rounds);
        assert!(text.contains(NONE), "{text}");
        let worse = rounds.map(|[bare, again, ours]| [bare, again, ours * 1.2]);
        let text = chapter_of_rounds("cpu_us_per_msg", &worse);
        assert!(text.contains(ONE), "{text}");
    }

    #[test]
    fn what_is_behind_in_every_round_is_a_loss() {
        let rounds = [[1.0, 0.5, 1.1]; 5];
        let text = chapter_of_rounds("cpu_us_per_msg", &rounds);
        assert!(text.contains(ONE), "{text}");
        for (count, last) in [(4, 1.1), (5, 0.9)] {
            let mut some = rounds[..count].to_vec();
            some[count - 1][2] = last;
            let text = chapter_of_rounds("cpu_us_per_msg", &some);
            assert!(text.contains(NONE), "{text}");
        }
    }

    #[test]
    fn a_system_call_in_more_than_100_messages_is_noise() {
        let text = chapter_of("calls_per_msg", [2.0, 2.0, 2.009, 2.0]);
        assert!(text.contains(NONE), "{text}");
        let text = chapter_of("calls_per_msg", [2.0, 2.0, 2.011, 2.0]);
        assert!(text.contains(ONE), "{text}");
    }

    #[test]
    fn what_is_behind_mio_alone_is_a_loss_too() {
        let text = chapter_of("cpu_us_per_msg", [1.0, 1.02, 1.0, 0.8]);
        assert!(text.contains(ONE) && text.contains("| 1.250 |"), "{text}");
        let text = chapter_of("cpu_us_per_msg", [1.0, 1.02, 1.0, 0.99]);
        assert!(
            text.contains(NONE) && text.contains("1 more are behind mio"),
            "{text}"
        );
    }

    #[test]
    fn the_worst_comes_first() {
        let mut lines = Vec::new();
        for (connections, ours) in [(1, 1.2), (16, 3.0), (128, 2.0)] {
            lines.push(line("echo", "bare", connections, "cpu_us_per_msg", 1.0));
            lines.push(line("echo", "minimio", connections, "cpu_us_per_msg", ours));
        }
        let text = chapter(&read(&lines));
        let at = |name: &str| text.find(name).expect("it is a loss");
        assert!(at("`echo`, 16 ") < at("`echo`, 128 ") && at("`echo`, 128 ") < at("`echo`, 1 "));
    }

    #[test]
    fn every_explanation_names_a_benchmark() {
        for (_, bench, ..) in EXPLAINED {
            let known = BENCHES.iter().any(|(known, ..)| *known == bench);
            assert!(known || bench.is_empty(), "{bench}");
        }
        let unknown = "128 connections, 1 B, unknown, from another thread";
        assert!(
            explanation("linux-x86_64", "rearm", unknown, "ns_per_register").contains("filled")
        );
        assert_eq!(
            explanation("linux-x86_64", "echo", "1 connection, 4096 B", "p50_us"),
            ""
        );
    }
}
