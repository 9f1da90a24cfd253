//! What the rules of a bucket's lifecycle mean for backups.
