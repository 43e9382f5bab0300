// Package compose tests the cluster that docker-compose.yml describes, from
// outside, the way a client and an operator meet it. scripts/smoke starts the
// cluster and runs the tests; without -smoke they are skipped.
package compose
