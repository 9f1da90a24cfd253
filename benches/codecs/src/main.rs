//! Which library packs a dump best? Packs members of SQL as pgkeep does, with each library and level, one thread, and
//! prints ratio and speed as a table in Markdown.
//!
//! `pgkeep-codecs [--every N] [--rounds N] [--only WORD] [--zstd level=3,hashLog=18,...]... FILE...`
//! takes every Nth 2 MiB of each FILE (6), the best of as many rounds (3), in processor time of this thread.

use cpu_time::ThreadTime;
use flate2::write::GzEncoder;
use libdeflater::{CompressionLvl, Compressor};
use std::error::Error;
use std::io::Write;
use std::time::Duration;
use zstd::zstd_safe::{CParameter, Strategy};

/// As in pgkeep: members are cut at line ends before so many bytes.
const MEMBER_BYTES: usize = 2 << 20;

type Fallible<T> = Result<T, Box<dyn Error>>;
type Pack = Box<dyn FnMut(&[u8]) -> Fallible<usize>>;

struct Candidate {
    name: String,
    pack: Pack,
}

#[derive(Debug, Default)]
struct Options {
    every: usize,
    rounds: usize,
    only: String,
    zstd: Vec<String>,
    files: Vec<String>,
}

fn main() -> Fallible<()> {
    let mut options = Options { every: 6, rounds: 3, ..Options::default() };
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        let mut value = || args.next().ok_or_else(|| format!("{arg} needs a value"));
        match arg.as_str() {
            "--every" => options.every = value()?.parse()?,
            "--rounds" => options.rounds = value()?.parse()?,
            "--only" => options.only = value()?,
            "--zstd" => options.zstd.push(value()?),
            _ => options.files.push(arg),
        }
    }
    if options.files.is_empty() || options.every == 0 || options.rounds == 0 {
        return Err("usage: pgkeep-codecs [--every N] [--rounds N] [--only WORD] [--zstd PARAMETERS]... FILE...".into());
    }
    for file in &options.files {
        compare(file, &options)?;
    }
    Ok(())
}

fn compare(file: &str, options: &Options) -> Fallible<()> {
    let data = std::fs::read(file)?;
    let sample: Vec<&[u8]> = members(&data).into_iter().step_by(options.every).collect();
    let bytes: usize = sample.iter().map(|member| member.len()).sum();
    println!("\n{file}: {} members, {:.0} MB\n", sample.len(), bytes as f64 / 1e6);
    println!("| codec | packed, of the SQL | MB of SQL a second and core |\n|---|---:|---:|");
    let mut candidates = if options.zstd.is_empty() { candidates()? } else { Vec::new() };
    for parameters in &options.zstd {
        candidates.push(Candidate { name: format!("zstd {parameters}"), pack: zstd_with(parameters)? });
    }
    candidates.retain(|candidate| candidate.name.contains(&options.only));
    let mut results = vec![(0, Duration::MAX); candidates.len()];
    // In turn, so that a slow minute of the machine is shared by all.
    for _ in 0..options.rounds {
        for (Candidate { name, pack }, (packed, best)) in candidates.iter_mut().zip(&mut results) {
            let clock = ThreadTime::now();
            *packed = 0;
            for member in &sample {
                *packed += pack(member).map_err(|error| format!("{name}: {error}"))?;
            }
            *best = (*best).min(clock.elapsed());
        }
    }
    for (Candidate { name, .. }, (packed, best)) in candidates.iter().zip(results) {
        let ratio = packed as f64 / bytes as f64;
        println!("| {name} | {ratio:.4} | {:.0} |", bytes as f64 / 1e6 / best.as_secs_f64());
    }
    Ok(())
}

fn members(data: &[u8]) -> Vec<&[u8]> {
    let mut members = Vec::new();
    let mut rest = data;
    while !rest.is_empty() {
        let most = &rest[..rest.len().min(MEMBER_BYTES)];
        let end = most.iter().rposition(|&byte| byte == b'\n').map_or(most.len(), |at| at + 1);
        let (member, after) = rest.split_at(end);
        members.push(member);
        rest = after;
    }
    members
}

fn candidates() -> Fallible<Vec<Candidate>> {
    let mut all = Vec::new();
    for level in 1..=9 {
        let mut engine = Compressor::new(CompressionLvl::new(level).map_err(|_| "no such level")?);
        let mut buffer = room();
        let pack: Pack = Box::new(move |sql| Ok(engine.gzip_compress(sql, &mut buffer)?));
        all.push(Candidate { name: format!("libdeflate {level}"), pack });
    }
    for level in 1..=9 {
        let mut buffer = room();
        let pack: Pack = Box::new(move |sql| {
            // 16 above the window's size asks for gzip's frame.
            let mut engine = zlib_rs::Deflate::new(level, true, 15 + 16);
            match engine.compress(sql, &mut buffer, zlib_rs::DeflateFlush::Finish) {
                Ok(zlib_rs::Status::StreamEnd) => Ok(engine.total_out() as usize),
                other => Err(format!("{other:?}").into()),
            }
        });
        all.push(Candidate { name: format!("zlib-rs {level}"), pack });
    }
    for level in 1..=9 {
        let pack: Pack = Box::new(move |sql| {
            let mut engine = GzEncoder::new(Vec::with_capacity(sql.len()), flate2::Compression::new(level));
            engine.write_all(sql)?;
            Ok(engine.finish()?.len())
        });
        all.push(Candidate { name: format!("zlib-ng {level}"), pack });
    }
    for (level, of) in
        [(0, isal::CompressionLevel::Zero), (1, isal::CompressionLevel::One), (3, isal::CompressionLevel::Three)]
    {
        let mut buffer = room();
        let pack: Pack = Box::new(move |sql| Ok(isal::compress_into(sql, &mut buffer, of, isal::Codec::Gzip)?));
        all.push(Candidate { name: format!("ISA-L {level}"), pack });
    }
    for level in (-3..=9).filter(|&level| level != 0) {
        all.push(Candidate { name: format!("zstd {level}"), pack: zstd_with(&format!("level={level}"))? });
    }
    // As in src/archive/codec.rs.
    let tuned = zstd_with("level=3,strategy=1,hashLog=16,minMatch=7")?;
    all.push(Candidate { name: "zstd 3, tuned for rows".to_owned(), pack: tuned });
    Ok(all)
}

fn room() -> Vec<u8> {
    vec![0; 2 * MEMBER_BYTES]
}

/// zstd with `level=3,strategy=2,minMatch=5,...`, by the names of its manual, and a checksum as pgkeep asks for.
fn zstd_with(parameters: &str) -> Fallible<Pack> {
    let mut engine = zstd::bulk::Compressor::new(3)?;
    engine.set_parameter(CParameter::ChecksumFlag(true))?;
    for parameter in parameters.split(',') {
        let (name, value) = parameter.split_once('=').ok_or("zstd's parameters are given as name=value")?;
        let number: i32 = value.parse()?;
        let unsigned = || u32::try_from(number);
        engine.set_parameter(match name {
            "level" => CParameter::CompressionLevel(number),
            "windowLog" => CParameter::WindowLog(unsigned()?),
            "hashLog" => CParameter::HashLog(unsigned()?),
            "chainLog" => CParameter::ChainLog(unsigned()?),
            "searchLog" => CParameter::SearchLog(unsigned()?),
            "minMatch" => CParameter::MinMatch(unsigned()?),
            "targetLength" => CParameter::TargetLength(unsigned()?),
            "strategy" => CParameter::Strategy(match number {
                1 => Strategy::ZSTD_fast,
                2 => Strategy::ZSTD_dfast,
                3 => Strategy::ZSTD_greedy,
                4 => Strategy::ZSTD_lazy,
                5 => Strategy::ZSTD_lazy2,
                _ => return Err("strategies are 1 to 5".into()),
            }),
            _ => return Err(format!("zstd has no parameter {name} here").into()),
        })?;
    }
    let mut buffer = room();
    Ok(Box::new(move |sql| Ok(engine.compress_to_buffer(sql, buffer.as_mut_slice())?)))
}
