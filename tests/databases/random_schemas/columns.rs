//! Columns of random types, and values for them as SQL of a row's number, written `@`.

use super::Chance;

/// What may be done with a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Whole numbers, which may be calculated with.
    Int,
    Text,
    Json,
    IntArray,
    Range,
    Point,
    Words,
    Inet,
    /// Anything else with an order.
    Ordered,
    /// Neither ordered nor indexed here.
    Blob,
}

#[derive(Clone, Debug)]
pub(super) struct Column {
    /// Quoted.
    pub(super) name: String,
    pub(super) type_: String,
    /// What row `@` holds; none for a column that the server fills.
    pub(super) value: Option<String>,
    pub(super) kind: Kind,
    /// What stands behind the type in CREATE TABLE.
    pub(super) more: String,
}

impl Column {
    pub(super) fn new(name: &str, type_: &str, kind: Kind, value: &str) -> Self {
        Self {
            name: name.to_owned(),
            type_: type_.to_owned(),
            value: Some(value.to_owned()),
            kind,
            more: String::new(),
        }
    }

    /// As in CREATE TABLE.
    pub(super) fn definition(&self) -> String {
        format!("{} {}{}", self.name, self.type_, self.more)
    }
}

/// Texts with all that COPY escapes, and NULL.
const TEXT: &str = r#"CASE @ % 13 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN '\.' WHEN 3 THEN E'tab\tline\nreturn\rend'
    WHEN 4 THEN '\N' WHEN 5 THEN 'back\slash\' WHEN 6 THEN '''it'' "quoted"' WHEN 7 THEN 'ünïcode ☃ 🐘'
    WHEN 8 THEN E'\\.\nCOPY x FROM stdin;\n1\n' WHEN 9 THEN repeat('long ', 300) WHEN 10 THEN E'a\x1a\x01\x7f'
    ELSE 'row ' || @ END"#;

/// Type, kind and value of what needs no other object.
const TYPES: [(&str, Kind, &str); 32] = [
    ("integer", Kind::Int, "@ % 17"),
    ("bigint", Kind::Int, "@::bigint * 1000000007"),
    ("smallint", Kind::Int, "NULLIF(@ % 100, 7)"),
    ("numeric(14,3)", Kind::Ordered, "@ * 1.001"),
    ("numeric", Kind::Ordered, "CASE @ % 5 WHEN 0 THEN 'NaN' ELSE @ / 7.0 END"),
    ("real", Kind::Ordered, "@ / 3.0::real"),
    ("double precision", Kind::Ordered, "CASE @ % 9 WHEN 0 THEN '-Infinity' ELSE @ / 3.0::float8 END"),
    ("boolean", Kind::Ordered, "NULLIF(@ % 3, 2)::boolean"),
    ("text", Kind::Text, TEXT),
    ("text COLLATE \"C\"", Kind::Text, TEXT),
    ("character varying(40)", Kind::Text, "'v ' || @"),
    ("character(7)", Kind::Ordered, "'c' || @ % 1000"),
    ("\"char\"", Kind::Ordered, "'q'"),
    ("name", Kind::Ordered, "'n' || @"),
    ("date", Kind::Ordered, "date '0044-03-15 BC' + @ * 100"),
    ("timestamp(3) without time zone", Kind::Ordered, "timestamp '2026-11-22 01:02:03.004' + @ * interval '1 hour'"),
    (
        "timestamp with time zone",
        Kind::Ordered,
        "CASE @ % 11 WHEN 0 THEN 'infinity' ELSE timestamptz '1999-12-31 23:59:59+05:30' END",
    ),
    ("time without time zone", Kind::Ordered, "time '00:00' + @ * interval '1 minute'"),
    ("interval", Kind::Ordered, "@ * interval '-1 month 2 days 3.5 seconds'"),
    ("uuid", Kind::Ordered, "md5(@::text)::uuid"),
    ("bytea", Kind::Ordered, r"decode(md5(@::text), 'hex') || '\x005c0a2e'::bytea"),
    ("bit varying(20)", Kind::Ordered, "(@ % 1000)::bit(10)"),
    ("inet", Kind::Inet, "inet '10.0.0.0/8' + @"),
    ("macaddr", Kind::Ordered, "'08:00:2b:01:02:03'::macaddr"),
    ("json", Kind::Blob, r#"CASE @ % 4 WHEN 0 THEN NULL ELSE json_build_object('a "b"', @, E'\n\t', 'x\y') END"#),
    ("jsonb", Kind::Json, r#"jsonb_build_object('a', @, 'b', jsonb_build_array('ü\"', NULL, @ % 3))"#),
    ("integer[]", Kind::IntArray, "ARRAY[@, NULL, @ % 5]"),
    ("text[]", Kind::Ordered, r#"ARRAY['a,b', '{"}', NULL, '', 'NULL', E'\\', 'r' || @]"#),
    ("text[][]", Kind::Ordered, "CASE @ % 3 WHEN 0 THEN '{}' ELSE ARRAY[['a', 'b'], ['c', NULL]] END"),
    ("int4range", Kind::Range, "int4range(@ * 10, @ * 10 + 7)"),
    ("point", Kind::Point, "point(@, -@)"),
    ("tsvector", Kind::Words, "to_tsvector('simple', 'word' || @ % 30 || ' odd')"),
];

/// A column of any type; `own` are the types that this schema made, as type and value.
pub(super) fn random(chance: &mut Chance, space: &str, own: &[(String, String)]) -> Column {
    let name = chance.name(space);
    let mut column = if !own.is_empty() && chance.percent(25) {
        let (type_, value) = &own[chance.below(own.len())];
        Column::new(&name, type_, Kind::Blob, value)
    } else {
        let (type_, kind, value) = TYPES[chance.below(TYPES.len())];
        Column::new(&name, type_, kind, value)
    };
    if column.type_ == "text" && chance.percent(20) {
        column.more = format!(" DEFAULT {}", chance.text());
    }
    column
}

/// Type and value of columns that are keys: no two rows hold the same, and none holds NULL.
pub(super) fn key(chance: &mut Chance, space: &str) -> Column {
    let (type_, kind, value) = *chance.pick(&[
        &("integer", Kind::Int, "@"),
        &("integer", Kind::Int, "@"),
        &("bigint", Kind::Int, "(@)::bigint * 5000000029"),
        &("smallint", Kind::Int, "@"),
        &("text", Kind::Text, r"'key \ ' || (@)"),
        &("uuid", Kind::Ordered, "md5((@)::text)::uuid"),
        &("numeric(10,2)", Kind::Ordered, "(@) + 0.25"),
        &("date", Kind::Ordered, "date '2000-01-01' + (@)"),
    ]);
    let name = chance.name(space);
    Column::new(&name, type_, kind, value)
}
