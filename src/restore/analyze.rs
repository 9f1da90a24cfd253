//! Planner statistics, which no dump holds.

use crate::cancel::Cancel;
use crate::error::Result;
use crate::postgres::Client;
use futures_util::future::join_all;
use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

/// Tables that can be analyzed, the largest first: their names in SQL, and their size in pages. Whatever is analyzed of a
/// partitioned table is analyzed of its partitions, too.
const TABLES: &str = "set search_path = ''; \
    select coalesce(json_agg(json_build_array(name, pages) order by pages desc), '[]') from ( \
    select c.oid::regclass::text as name, case when c.relkind = 'p' then 1000000 \
      else pg_catalog.pg_relation_size(c.oid) / current_setting('block_size')::bigint end as pages \
    from pg_catalog.pg_class c join pg_catalog.pg_namespace n on n.oid = c.relnamespace \
    where c.relkind in ('r', 'm', 'p') and not c.relispartition and n.nspname !~ '^pg_(toast|temp)') t;";

/// So many tables are analyzed by one psql.
const TOGETHER: usize = 500;

/// So many pages are analyzed by one psql: more than that does not take longer, for a sample is read.
const PAGES_TOGETHER: u64 = 3000;

/// Gathers statistics of the whole database with `jobs` sessions at once. A table whose statistics cannot be gathered (some
/// types cannot be compared) is left without, and named in what is returned: it is restored all the same.
pub async fn analyze(client: &Client, jobs: usize, cancel: &Cancel) -> Result<Vec<String>> {
    let tables: Vec<(String, u64)> = client.query_json(TABLES, cancel).await?;
    let batches = Mutex::new(batches(tables));
    let notes = Mutex::new(Vec::new());
    let workers = (0..jobs.max(1)).map(|_| async {
        loop {
            let batch = batches.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
            let Some(batch) = batch else { return Ok(()) };
            if client.execute(&format!("analyze {};", batch.join(", ")), cancel).await.is_ok() {
                continue;
            }
            for table in batch {
                if let Err(error) = client.execute(&format!("analyze {table};"), cancel).await {
                    cancel.check()?;
                    let note = format!("no statistics were gathered for {table}: {}", error.one_line());
                    notes.lock().unwrap_or_else(PoisonError::into_inner).push(note);
                }
            }
        }
    });
    join_all(workers).await.into_iter().collect::<Result<()>>()?;
    Ok(notes.into_inner().unwrap_or_else(PoisonError::into_inner))
}

/// Tables for one psql after the other, from tables with their sizes, the largest first.
fn batches(tables: Vec<(String, u64)>) -> VecDeque<Vec<String>> {
    let mut batches: VecDeque<Vec<String>> = VecDeque::new();
    let mut pages = u64::MAX;
    for (table, size) in tables {
        match batches.back_mut() {
            Some(last) if pages < PAGES_TOGETHER && last.len() < TOGETHER => last.push(table),
            _ => {
                batches.push_back(vec![table]);
                pages = 0;
            }
        }
        pages += size;
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_tables_are_analyzed_alone_and_small_ones_together() {
        let sizes = [9000, 5000, 1000, 1000, 1500, 10, 10].into_iter().enumerate();
        let tables = sizes.map(|(number, size)| (number.to_string(), size)).collect();
        let names: Vec<String> = batches(tables).iter().map(|batch| batch.join(" ")).collect();
        assert_eq!(names, ["0", "1", "2 3 4", "5 6"]);
        assert_eq!(batches((0..1200).map(|n| (n.to_string(), 0)).collect()).len(), 3);
    }
}
