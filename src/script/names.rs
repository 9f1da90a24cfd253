//! Names as pg_dump writes them.

/// The words that pg_dump quotes as names in some version from 14 to 18: `pg_get_keywords()` that are not of category `U`.
const KEYWORDS: &str = "all analyse analyze and any array as asc asymmetric authorization between bigint binary bit boolean both \
    case cast char character check coalesce collate collation column concurrently constraint create cross current_catalog \
    current_date current_role current_schema current_time current_timestamp current_user dec decimal default deferrable desc \
    distinct do else end except exists extract false fetch float for foreign freeze from full grant greatest group grouping \
    having ilike in initially inner inout int integer intersect interval into is isnull join json json_array json_arrayagg \
    json_exists json_object json_objectagg json_query json_scalar json_serialize json_table json_value lateral leading least \
    left like limit localtime localtimestamp merge_action national natural nchar none normalize not notnull null nullif numeric \
    offset on only or order out outer overlaps overlay placing position precision primary real references returning right row \
    select session_user setof similar smallint some substring symmetric system_user table tablesample then time timestamp to \
    trailing treat trim true union unique user using values varchar variadic verbose when where window with xmlattributes \
    xmlconcat xmlelement xmlexists xmlforest xmlnamespaces xmlparse xmlpi xmlroot xmlserialize xmltable";

/// `name` as an SQL identifier, quoted only where pg_dump quotes it (`fmtId` in PostgreSQL's `string_utils.c`).
pub fn identifier(name: &str) -> String {
    let start = |b: &u8| b.is_ascii_lowercase() || *b == b'_';
    let safe = name.as_bytes().first().is_some_and(start)
        && name.bytes().all(|b| start(&b) || b.is_ascii_digit())
        && !KEYWORDS.split_ascii_whitespace().any(|word| word == name);
    if safe { name.to_owned() } else { super::quote_identifier(name) }
}

/// The name that an SQL identifier stands for, as pg_dump writes it: quoted, or plain and in lower case.
pub(super) fn unquoted(identifier: &str) -> String {
    let quoted = identifier.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    quoted.map_or_else(|| identifier.to_owned(), |name| name.replace("\"\"", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_quoted_where_pg_dump_quotes_them() {
        for (name, written) in [
            ("app", "app"),
            ("_a1", "_a1"),
            ("1a", "\"1a\""),
            ("App", "\"App\""),
            ("a$", "\"a$\""),
            ("user", "\"user\""),
            ("owner", "owner"),
            ("ñ", "\"ñ\""),
            ("", "\"\""),
            ("a\"b", "\"a\"\"b\""),
        ] {
            assert_eq!(identifier(name), written);
            assert_eq!(unquoted(written), name);
        }
    }
}
