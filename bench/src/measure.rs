//! The method: rounds in which every implementation has its turn, and ratios within a round.
//! The machine is never quiet. What disturbs one turn mostly disturbs the next ones, too. So a figure is compared with
//! that of `bare` in the same round. The result is the median of these ratios over the rounds, with the smallest and
//! the largest.

use std::fs::File;
use std::io::{self, Write};

use serde_json::{Map, Value};

use crate::options::Options;
use crate::system;

/// The implementation with which the others are compared.
pub const FLOOR: &str = "bare";

/// The same among the servers of tokio.
pub const TOKIO_FLOOR: &str = "tokio-on-mio";

/// With what a benchmark compares.
pub fn floor(bench: &str) -> &'static str {
    match bench {
        "tokio" => TOKIO_FLOOR,
        _ => FLOOR,
    }
}

/// The figures of one turn, by name.
pub type Figures = Vec<(&'static str, f64)>;

/// One configuration of one benchmark.
#[derive(Debug, Clone)]
pub struct Setting {
    pub bench: &'static str,
    pub connections: usize,
    pub size: usize,
    /// Other settings of this configuration.
    pub more: Vec<(&'static str, Value)>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    rounds: Vec<Figures>,
    failed: bool,
}

/// Writes the results.
#[derive(Debug)]
pub struct Recorder {
    json: Option<File>,
}

impl Recorder {
    pub fn new(options: &Options) -> io::Result<Recorder> {
        let json = match &options.json {
            None => None,
            Some(path) => {
                let mut file = File::options().append(true).create(true).open(path)?;
                writeln!(file, "{}", system::about())?;
                Some(file)
            }
        };
        Ok(Recorder { json })
    }

    /// Gives each of `subjects` its turn in every round: A B C A B C …
    pub fn rounds<T>(
        &mut self,
        options: &Options,
        setting: &Setting,
        subjects: &mut [(&'static str, T)],
        turn: impl FnMut(&mut T) -> io::Result<Figures>,
    ) -> io::Result<()> {
        let mut cases = [(setting.clone(), subjects)];
        self.cases(options, &mut cases, turn)
    }

    /// The same for several settings, all of which have their turns in every round. So also the figures of different
    /// settings can be compared within a round.
    pub fn cases<T>(
        &mut self,
        options: &Options,
        cases: &mut [(Setting, &mut [(&'static str, T)])],
        mut turn: impl FnMut(&mut T) -> io::Result<Figures>,
    ) -> io::Result<()> {
        let mut tables: Vec<Vec<Row>> = cases.iter().map(|(_, subjects)| rows(subjects)).collect();
        for round in 0..options.rounds {
            for ((setting, subjects), rows) in cases.iter_mut().zip(&mut tables) {
                for ((name, subject), row) in subjects.iter_mut().zip(rows) {
                    if row.failed {
                        continue;
                    }
                    let result = turn(subject);
                    let Some(figures) = self.allow(setting, name, result)? else {
                        row.failed = true;
                        continue;
                    };
                    self.write(setting, name, round, &figures)?;
                    row.rounds.push(figures);
                }
            }
        }
        for ((setting, _), rows) in cases.iter().zip(&tables) {
            print_table(setting, rows);
        }
        Ok(())
    }

    /// If a peer fails on a system where it may fail, this prints and records that, and returns `None`, and the others
    /// go on. A failure of minimio or of `bare` ends the run.
    pub fn allow<T>(
        &mut self,
        setting: &Setting,
        name: &str,
        result: io::Result<T>,
    ) -> io::Result<Option<T>> {
        let error = match result {
            Ok(value) => return Ok(Some(value)),
            Err(error) => error,
        };
        let must_run = name == floor(setting.bench) || name.starts_with("minimio");
        if must_run || !system::PEERS_MAY_FAIL {
            return Err(io::Error::new(error.kind(), format!("{name}: {error}")));
        }
        println!("{}: {name} does not run here: {error}", setting.bench);
        let mut object = setting.object(name);
        object.insert("error".into(), error.to_string().into());
        self.put(object)?;
        Ok(None)
    }

    fn write(
        &mut self,
        setting: &Setting,
        name: &str,
        round: usize,
        figures: &Figures,
    ) -> io::Result<()> {
        let mut object = setting.object(name);
        object.insert("round".into(), round.into());
        for (key, value) in figures {
            object.insert((*key).into(), (*value).into());
        }
        self.put(object)
    }

    fn put(&mut self, object: Map<String, Value>) -> io::Result<()> {
        match &mut self.json {
            Some(file) => writeln!(file, "{}", Value::Object(object)),
            None => Ok(()),
        }
    }
}

impl Setting {
    /// The beginning of every line about an implementation.
    fn object(&self, name: &str) -> Map<String, Value> {
        let mut object = Map::new();
        object.insert("bench".into(), self.bench.into());
        object.insert("platform".into(), system::platform().into());
        object.insert("impl".into(), name.into());
        object.insert("connections".into(), self.connections.into());
        object.insert("size".into(), self.size.into());
        for (key, value) in &self.more {
            object.insert((*key).into(), value.clone());
        }
        object
    }
}

/// The median, the smallest and the largest.
#[derive(Debug, Clone, Copy)]
pub struct Spread {
    pub median: f64,
    pub least: f64,
    pub largest: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Spread> {
        let mut values: Vec<f64> = values
            .into_iter()
            .filter(|value| value.is_finite())
            .collect();
        values.sort_by(f64::total_cmp);
        let (least, largest) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Spread {
            median,
            least,
            largest,
        })
    }
}

/// An empty row for each subject.
fn rows<T>(subjects: &[(&'static str, T)]) -> Vec<Row> {
    let row = |(name, _): &(&'static str, T)| Row {
        name,
        rounds: Vec::new(),
        failed: false,
    };
    subjects.iter().map(row).collect()
}

fn figure(figures: &Figures, name: &str) -> Option<f64> {
    figures
        .iter()
        .find(|(key, _)| *key == name)
        .map(|(_, value)| *value)
}

/// The ratios of `row` to `floor`, round by round.
fn ratios<'a>(row: &'a Row, floor: &'a Row, name: &'a str) -> impl Iterator<Item = f64> + 'a {
    let rounds = row.rounds.iter().zip(&floor.rounds);
    rounds.filter_map(move |(row, floor)| Some(figure(row, name)? / figure(floor, name)?))
}

fn print_table(setting: &Setting, rows: &[Row]) {
    let mut title = format!("{}: ", setting.bench);
    if setting.connections > 0 {
        title += &format!("{} connections, ", setting.connections);
    }
    if setting.size > 0 {
        title += &format!("{} B, ", setting.size);
    }
    for (key, value) in &setting.more {
        title += &format!("{key} {value}, ").replace('"', "");
    }
    let rounds = rows.first().map_or(0, |row| row.rounds.len());
    println!("\n{title}{rounds} rounds");

    let floor_name = floor(setting.bench);
    let Some(floor) = rows.iter().find(|row| row.name == floor_name) else {
        return;
    };
    let ours = rows.iter().find(|row| row.name == "minimio");
    let names: Vec<&str> = floor.rounds.first().map_or(Vec::new(), |figures| {
        figures.iter().map(|(name, _)| *name).collect()
    });
    for name in names {
        println!(
            "  {name:<24} {:>12} {:>7} {:>7} {:>7}   {:>7} {:>7} {:>7}",
            "median",
            format!("/{}", floor_name.rsplit('-').next().unwrap_or_default()),
            "min",
            "max",
            "ours/it",
            "min",
            "max"
        );
        for row in rows {
            let value = Spread::of(row.rounds.iter().filter_map(|round| figure(round, name)));
            let Some(value) = value else { continue };
            let mut line = format!("    {:<22} {:>12.4}", row.name, value.median);
            let against = [
                Spread::of(ratios(row, floor, name)),
                ours.and_then(|ours| Spread::of(ratios(ours, row, name))),
            ];
            for (at, spread) in against.into_iter().enumerate() {
                let Some(spread) = spread else { continue };
                line += if at > 0 { "  " } else { "" };
                for value in [spread.median, spread.least, spread.largest] {
                    line += &format!(" {value:>7.3}");
                }
            }
            println!("{line}");
        }
    }
}

/// Latencies in buckets that are 1/32 of a power of two wide, so percentiles are exact to 3 %.
#[derive(Debug)]
pub struct Histogram {
    buckets: Vec<u64>,
    count: u64,
}

const SUB_BITS: u32 = 5;

impl Histogram {
    pub fn new() -> Histogram {
        Histogram {
            buckets: vec![0; (64 << SUB_BITS) as usize],
            count: 0,
        }
    }

    pub fn clear(&mut self) {
        self.buckets.fill(0);
        self.count = 0;
    }

    pub fn add(&mut self, nanoseconds: u64) {
        self.buckets[bucket(nanoseconds)] += 1;
        self.count += 1;
    }

    /// In microseconds.
    pub fn percentile(&self, part: f64) -> f64 {
        let wanted = (self.count as f64 * part).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.buckets.iter().enumerate() {
            seen += count;
            if seen >= wanted {
                return value_of(index) as f64 / 1e3;
            }
        }
        f64::NAN
    }
}

fn bucket(value: u64) -> usize {
    let top = 63 - (value | 1).leading_zeros();
    if top < SUB_BITS {
        return value as usize;
    }
    let shift = top - SUB_BITS;
    (((shift + 1) << SUB_BITS) as u64 + ((value >> shift) & ((1 << SUB_BITS) - 1))) as usize
}

/// The smallest value of a bucket.
fn value_of(index: usize) -> u64 {
    let (part, sub) = (index >> SUB_BITS, (index & ((1 << SUB_BITS) - 1)) as u64);
    match part {
        0 => sub,
        _ => (sub + (1 << SUB_BITS)) << (part - 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_a_thirty_second_wide() {
        for value in [0, 1, 31, 32, 33, 63, 64, 1_000, 123_456_789, u64::MAX / 2] {
            let least = value_of(bucket(value));
            assert!(
                least <= value && value - least <= value / 32,
                "{value}: {least}"
            );
        }
    }

    #[test]
    fn the_median_is_the_middle_one() {
        let spread = Spread::of([3.0, 1.0, 2.0]).expect("there are some");
        assert_eq!(
            (spread.median, spread.least, spread.largest),
            (2.0, 1.0, 3.0)
        );
        assert_eq!(
            Spread::of([1.0, 2.0]).map(|spread| spread.median),
            Some(1.5)
        );
        assert!(Spread::of([]).is_none());
    }
}
