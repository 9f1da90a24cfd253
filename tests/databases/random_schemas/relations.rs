//! What ties tables together: foreign keys in every shape, the rows that keep them, and indexes.

use super::columns::{Column, Kind};
use super::maker::{Maker, Stage};
use super::tables::names;

/// Chains, references to itself, circles of two to five tables, several between the same pair.
pub(super) fn foreign_keys(maker: &mut Maker) {
    let with_key: Vec<usize> = (0..maker.tables.len()).filter(|at| !maker.tables[*at].keys.is_empty()).collect();
    if with_key.is_empty() {
        return;
    }
    for _ in 0..maker.chance.below(2 * maker.tables.len()) {
        let (from, to) = (maker.chance.below(maker.tables.len()), with_key[maker.chance.below(with_key.len())]);
        for _ in 0..=maker.chance.below(2) {
            foreign_key(maker, from, to);
        }
    }
    if maker.chance.percent(50) {
        let itself = with_key[maker.chance.below(with_key.len())];
        foreign_key(maker, itself, itself);
    }
    for _ in 0..maker.chance.below(3) {
        let length = 2 + maker.chance.below(4);
        let circle = maker.chance.some(length, with_key.len());
        for (place, member) in circle.iter().enumerate() {
            let next = circle[(place + 1) % circle.len()];
            foreign_key(maker, with_key[*member], with_key[next]);
        }
    }
    to_a_partition(maker);
}

fn foreign_key(maker: &mut Maker, from: usize, to: usize) {
    let key = maker.chance.below(maker.tables[to].keys.len());
    let targets = maker.tables[to].keys[key].columns.clone();
    let (child, parent) = (&maker.tables[from], &maker.tables[to]);
    let (name, space, partitioned, unlogged) =
        (child.name.clone(), child.space.clone(), child.partitioned, child.unlogged);
    let (other, rows, also_unlogged) = (parent.name.clone(), parent.rows, parent.unlogged);
    // What lasts must not depend on what does not; nor what is empty for want of columns.
    if child.columns.is_empty() || (also_unlogged && !unlogged) {
        return;
    }
    let (factor, shift, gaps) = (1 + maker.chance.below(9), maker.chance.below(5), maker.chance.percent(50));
    // A key that nobody has kept to so far, and that is not asked to be kept.
    let broken = !partitioned && maker.chance.percent(6);
    let mut columns = Vec::new();
    for target in targets {
        let value = target.value.clone().expect("a key has values");
        let row =
            if broken { format!("(@ + {rows})") } else { format!("(1 + (@ * {factor} + {shift}) % {})", rows.max(1)) };
        let mut value = value.replace('@', &row);
        if rows == 0 && !broken {
            value = format!("NULL::{}", target.type_);
        } else if gaps {
            value = format!("CASE WHEN @ % 5 = 0 THEN NULL ELSE {value} END");
        }
        let column = Column::new(&maker.chance.name(&space), &target.type_, target.kind, &value);
        maker.say(Stage::Columns, format!("ALTER TABLE {name} ADD COLUMN {}", column.definition()));
        columns.push(column);
    }
    let (own, theirs) = (names(&columns), names(&maker.tables[to].keys[key].columns));
    let constraint = maker.chance.fresh();
    let full = maker.chance.pick(&["", "", " MATCH FULL"]);
    let mut acts = maker
        .chance
        .pick(&["", "", " ON DELETE CASCADE", " ON DELETE SET NULL ON UPDATE CASCADE", " ON UPDATE SET DEFAULT"])
        .to_owned();
    if maker.major >= 15 && maker.chance.percent(8) {
        acts = format!(" ON DELETE SET NULL ({})", columns[0].name);
    }
    let late = maker.chance.pick(&["", "", " DEFERRABLE", " DEFERRABLE INITIALLY DEFERRED"]);
    let unchecked = match broken {
        true if maker.major >= 18 && maker.chance.percent(40) => " NOT ENFORCED",
        true => " NOT VALID",
        false => "",
    };
    let sql = format!(
        "ALTER TABLE {name} ADD CONSTRAINT {constraint} FOREIGN KEY ({own}) REFERENCES {other} ({theirs}){full}{acts}{late}{unchecked}"
    );
    maker.say(Stage::Foreign, sql);
    if maker.chance.percent(30) {
        maker.say(Stage::Indexes, format!("CREATE INDEX ON {name} ({own})"));
    }
    maker.remark(&format!("CONSTRAINT {constraint} ON {name}"));
    maker.tables[from].columns.extend(columns);
}

/// Sometimes a reference to one partition alone: to the part of the parent's key that it got.
fn to_a_partition(maker: &mut Maker) {
    let keyed = |at: &usize| maker.tables[*at].partitioned && !maker.tables[*at].keys.is_empty();
    let Some(to) = (0..maker.tables.len()).find(keyed).filter(|_| maker.chance.percent(50)) else { return };
    let from = maker.chance.below(maker.tables.len());
    // A parent cannot refer to its own part.
    if maker.tables[from].columns.is_empty() || from == to {
        return;
    }
    let (leaf, key) = (maker.tables[to].leaves[0].clone(), maker.tables[to].keys[0].columns.clone());
    let (name, space) = (maker.tables[from].name.clone(), maker.tables[from].space.clone());
    let mut own = Vec::new();
    for column in &key {
        let column = Column { name: maker.chance.name(&space), value: None, ..column.clone() };
        maker.say(Stage::Columns, format!("ALTER TABLE {name} ADD COLUMN {}", column.definition()));
        own.push(column);
    }
    let (own, theirs) = (names(&own), names(&key));
    maker.say(Stage::Foreign, format!("ALTER TABLE {name} ADD FOREIGN KEY ({own}) REFERENCES {leaf} ({theirs})"));
}

/// The rows of every table.
pub(super) fn rows(maker: &mut Maker) {
    for at in 0..maker.tables.len() {
        let table = &maker.tables[at];
        let (name, rows) = (table.name.clone(), table.rows);
        if rows == 0 {
            continue;
        }
        let filled = table.columns.iter().filter_map(|column| Some((&column.name, column.value.as_ref()?)));
        let (columns, values): (Vec<&String>, Vec<String>) =
            filled.map(|(name, value)| (name, value.replace('@', "_n"))).unzip();
        let columns: Vec<&str> = columns.into_iter().map(String::as_str).collect();
        let into = if columns.is_empty() { String::new() } else { format!(" ({})", columns.join(", ")) };
        let sql = format!("INSERT INTO {name}{into} SELECT {} FROM generate_series(1, {rows}) _n", values.join(", "));
        maker.say(Stage::Rows, sql);
    }
}

/// Several indexes on each table, of any method.
pub(super) fn indexes(maker: &mut Maker) {
    for at in 0..maker.tables.len() {
        for _ in 0..maker.chance.below(4) {
            let count = maker.tables[at].columns.len();
            if count > 0 {
                let column = maker.chance.below(count);
                index(maker, at, column);
            }
        }
    }
}

fn index(maker: &mut Maker, at: usize, column: usize) {
    let table = &maker.tables[at];
    let (name, schema, partitioned, leaves) =
        (table.name.clone(), table.schema.clone(), table.partitioned, table.leaves.clone());
    let Column { name: column, kind, type_, .. } = table.columns[column].clone();
    let other = table.of_kind(Kind::Int).map_or_else(|| column.clone(), |column| column.name.clone());
    let ordered = matches!(kind, Kind::Int | Kind::Text | Kind::Inet | Kind::Ordered);
    let how = match kind {
        Kind::Int => match maker.chance.below(5) {
            0 => format!("({}({column}))", maker.doubled),
            1 => format!("USING brin ({column})"),
            2 => format!("USING hash ({column}) WITH (fillfactor = 50)"),
            3 => format!("({column} DESC NULLS LAST, ({column}::bigint + 1))"),
            _ => format!("({column}) INCLUDE ({other})"),
        },
        Kind::Text => match maker.chance.below(5) {
            0 => format!("(lower({column}))"),
            1 if !type_.contains("varying") => format!("({column} text_pattern_ops)"),
            2 => format!("USING spgist (({column}::text))"),
            3 => format!("(({column} || ' it''s \\ '), {other})"),
            _ => format!("USING hash (md5({column}))"),
        },
        Kind::Json => maker
            .chance
            .pick(&["USING gin (@)", "USING gin (@ jsonb_path_ops)", "((@ ->> 'a'), (@ -> 'b'))"])
            .replace('@', &column),
        Kind::IntArray => format!("USING gin ({column})"),
        Kind::Range | Kind::Point => format!("USING {} ({column})", maker.chance.pick(&["gist", "spgist"])),
        Kind::Words => format!("USING {} ({column})", maker.chance.pick(&["gist", "gin"])),
        Kind::Inet => format!("USING gist ({column} inet_ops)"),
        Kind::Ordered => format!("({column})"),
        Kind::Blob => return,
    };
    let part = if maker.chance.percent(25) { format!(" WHERE {column} IS NOT NULL") } else { String::new() };
    let index = maker.chance.name(&schema);
    if partitioned && ordered && maker.chance.percent(40) {
        // The parent's own, then those of some partitions, attached one by one: without all of them it stays invalid.
        maker.say(Stage::Indexes, format!("CREATE INDEX {index} ON ONLY {name} ({column})"));
        let deep = maker.chance.percent(30);
        for (place, leaf) in leaves.iter().enumerate().filter(|(place, _)| !deep || *place > 0) {
            let space = maker.schema_of(leaf);
            let part = maker.chance.name(&space);
            maker.say(Stage::Indexes, format!("CREATE INDEX {part} ON {leaf} ({column})"));
            // A partition of a partition is not attached to the first parent's.
            let attach = format!("ALTER INDEX {schema}.{index} ATTACH PARTITION {space}.{part}");
            let quiet = format!(
                "DO $attach$ BEGIN {attach}; EXCEPTION WHEN invalid_object_definition OR object_not_in_prerequisite_state THEN NULL; END $attach$"
            );
            maker.say(Stage::Indexes, if place % 2 == 0 { quiet } else { format!("-- {place}\n{quiet}") });
        }
    } else {
        maker.say(Stage::Indexes, format!("CREATE INDEX {index} ON {name} {how}{part}"));
        if how.starts_with("((") || how.starts_with("(lower") {
            maker.say(Stage::Rest, format!("ALTER INDEX {schema}.{index} ALTER COLUMN 1 SET STATISTICS 400"));
        }
    }
    maker.remark(&format!("INDEX {schema}.{index}"));
    if let Some(leaf) = leaves.first().filter(|_| maker.chance.percent(40)) {
        maker.say(Stage::Indexes, format!("CREATE INDEX ON {leaf} ({other})"));
    }
}
