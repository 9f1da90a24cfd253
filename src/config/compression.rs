//! How archives are compressed: `"gzip"`, `"gzip:1"` to `"gzip:12"`, `"zstd"`, `"zstd:1"` to `"zstd:19"`.

use crate::error::{Error, ErrorKind, Result};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A compression format that other programs can read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// gzip members, read by `gunzip`.
    Gzip,
    /// Zstandard frames, read by `zstd -d`.
    Zstd,
}

impl Codec {
    /// The name in the configuration and in manifests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gzip => "gzip",
            Self::Zstd => "zstd",
        }
    }

    /// The levels that the codec has. gzip's reach to libdeflate's 12.
    pub fn levels(self) -> RangeInclusive<u8> {
        match self {
            Self::Gzip => 1..=12,
            Self::Zstd => 1..=19,
        }
    }

    /// The level when none is named: as small as `gzip -6` at two to three times its speed, and the number of
    /// zstd's own default, tuned for rows (docs/codecs.md).
    pub fn default_level(self) -> u8 {
        match self {
            Self::Gzip => 5,
            Self::Zstd => 3,
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "gzip" => Ok(Self::Gzip),
            "zstd" => Ok(Self::Zstd),
            _ => Err(unknown(text)),
        }
    }
}

/// A codec and its level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Compression {
    codec: Codec,
    level: u8,
}

impl Compression {
    /// `codec` at `level`, which must be one of [`Codec::levels`].
    pub fn new(codec: Codec, level: u8) -> Result<Self> {
        let levels = codec.levels();
        if levels.contains(&level) {
            return Ok(Self { codec, level });
        }
        Err(Error::new(ErrorKind::Config, format!("{codec} has no level {level}")).hint(format!(
            "choose a level from {} to {}",
            levels.start(),
            levels.end()
        )))
    }

    /// The codec.
    pub fn codec(self) -> Codec {
        self.codec
    }

    /// The level, one of the codec's.
    pub fn level(self) -> u8 {
        self.level
    }
}

impl Default for Compression {
    fn default() -> Self {
        Self { codec: Codec::Gzip, level: Codec::Gzip.default_level() }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.codec, self.level)
    }
}

impl FromStr for Compression {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let Some((codec, level)) = text.split_once(':') else {
            let codec: Codec = text.parse()?;
            return Self::new(codec, codec.default_level());
        };
        let codec: Codec = codec.parse().map_err(|_| unknown(text))?;
        // Digits only: the parser of integers would also take "+5".
        if level.is_empty() || !level.bytes().all(|b| b.is_ascii_digit()) {
            return Err(unknown(text));
        }
        Self::new(codec, level.parse().map_err(|_| unknown(text))?)
    }
}

fn unknown(text: &str) -> Error {
    Error::new(ErrorKind::Config, format!("{text:?} is no compression that pgkeep knows"))
        .hint("write \"gzip\", \"gzip:1\" to \"gzip:12\", \"zstd\", or \"zstd:1\" to \"zstd:19\"")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_codec_alone_has_its_default_level() {
        assert_eq!("gzip".parse::<Compression>().unwrap(), Compression::default());
        assert_eq!("gzip".parse::<Compression>().unwrap().to_string(), "gzip:5");
        assert_eq!("zstd".parse::<Compression>().unwrap().to_string(), "zstd:3");
    }

    #[test]
    fn levels_that_a_codec_lacks_are_refused() {
        for text in
            ["gzip:0", "gzip:13", "zstd:0", "zstd:20", "gzip:256", "gzip:+5", "gzip:", "lz4", "", "GZIP", "zstd:3 "]
        {
            let error = text.parse::<Compression>().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{text}");
            assert!(error.hint_text().is_some(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read_back(gzip in any::<bool>(), level in 1u8..=19) {
            let codec = if gzip { Codec::Gzip } else { Codec::Zstd };
            if let Ok(compression) = Compression::new(codec, level) {
                prop_assert_eq!(compression.to_string().parse::<Compression>().unwrap(), compression);
            }
        }

        #[test]
        fn no_text_breaks_the_parser(text in "\\PC*") {
            let _ = text.parse::<Compression>();
        }
    }
}
