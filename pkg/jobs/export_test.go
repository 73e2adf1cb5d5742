package jobs

// ClaimSQL is what a claim asks.
const ClaimSQL = claimSQL
