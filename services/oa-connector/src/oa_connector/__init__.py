"""One face per OA: submit, fetch, withdraw, callbacks; the OA is always asked, never believed."""
