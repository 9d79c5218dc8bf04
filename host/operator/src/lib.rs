//! Controllers, admission ledger, launch, status and cleanup
