package main

import (
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"

	"partstore/internal/layout"
	"partstore/node"
)

// serveConfig is what the settings amount to.
type serveConfig struct {
	node      node.Config
	logLevel  slog.Level
	logFormat string
}

// setting is one thing an operator can set. The same name serves everywhere:
// data_dir in the file is --data-dir as a flag and PARTSTORE_DATA_DIR in the
// environment.
type setting struct {
	key  string
	kind string // what a value looks like, for people
	def  string // "" for none
	help string
	// secret settings never show their value, have no flag of their own (flags
	// show in the process list) and may be read from a file: key_file.
	secret bool
	set    func(c *serveConfig, text string) error
}

// settings is the only list of them: flags, environment, file, "config check"
// and the table in docs/operations.md all come from here.
var settings = []setting{
	{key: "data_dir", kind: "path", help: "directory of the node's identity, registry copy and first store; required",
		set: text(func(c *serveConfig) *string { return &c.node.DataDir })},
	{key: "store_dirs", kind: "list of paths", help: "directories of further stores, one for each further drive, beside the one in data_dir; each must exist, and gets a store if it is empty",
		set: list(func(c *serveConfig) *[]string { return &c.node.StoreDirs })},
	{key: "name", kind: "text", help: "name of the node, unique in the cluster, never changed; required",
		set: text(func(c *serveConfig) *string { return &c.node.Name })},
	{key: "zone", kind: "text", def: "default", help: "failure domain of the node; chunks of a part are spread over zones",
		set: text(func(c *serveConfig) *string { return &c.node.Zone })},
	{key: "client_listen", kind: "host:port", def: ":7070", help: "address of the client API",
		set: text(func(c *serveConfig) *string { return &c.node.ClientListen })},
	{key: "peer_listen", kind: "host:port", def: ":7071", help: "address for other nodes",
		set: text(func(c *serveConfig) *string { return &c.node.PeerListen })},
	{key: "gossip_listen", kind: "host:port", def: ":7072", help: "address for membership, TCP and UDP",
		set: text(func(c *serveConfig) *string { return &c.node.GossipListen })},
	{key: "admin_listen", kind: "host:port", def: "127.0.0.1:7073", help: "address of the operator API, health and metrics",
		set: text(func(c *serveConfig) *string { return &c.node.AdminListen })},
	{key: "peer_tls", kind: "auto, on or off", def: "auto", help: "mutual TLS between nodes, alike on all; auto is on unless peer_listen is a loopback address",
		set: text(func(c *serveConfig) *string { return &c.node.PeerTLS })},
	{key: "advertise", kind: "host", help: "host name or IP address under which other nodes reach this one; default: found from peer_listen or the way to the first seed",
		set: text(func(c *serveConfig) *string { return &c.node.Advertise })},
	{key: "seeds", kind: "list of host:port", help: "gossip addresses of nodes to join; the node's own is harmless",
		set: list(func(c *serveConfig) *[]string { return &c.node.Seeds })},
	{key: "bootstrap_expect", kind: "count", def: "1", help: "nodes that form a new cluster together; no effect on a member of a cluster",
		set: count(func(c *serveConfig) *int { return &c.node.BootstrapExpect })},
	{key: "scheme", kind: "k+m", def: "4+2", help: "data and parity shards of new parts of a new cluster",
		set: func(c *serveConfig, s string) (err error) { c.node.Scheme, err = layout.ParseScheme(s); return err }},
	{key: "access_key_id", kind: "text", help: "root access key of the client API; required",
		set: text(func(c *serveConfig) *string { return &c.node.AccessKeyID })},
	{key: "secret_access_key", kind: "secret", secret: true, help: "secret of the root access key; required",
		set: text(func(c *serveConfig) *string { return &c.node.SecretAccessKey })},
	{key: "sealing_keys", kind: "secret", secret: true, help: "seal the secrets of the other access keys: base64 of 32 bytes each, comma-separated, the same on every node; the first seals, all open; without one there is only the root access key",
		set: text(func(c *serveConfig) *string { return &c.node.SealingKeys })},
	{key: "cluster_secret", kind: "secret", secret: true, help: "shared by all nodes, at least 16 bytes; required",
		set: text(func(c *serveConfig) *string { return &c.node.ClusterSecret })},
	{key: "admin_token", kind: "secret", secret: true, help: "bearer token of the operator API; required unless admin_listen is a loopback address",
		set: text(func(c *serveConfig) *string { return &c.node.AdminToken })},
	{key: "base_domains", kind: "list of domains", help: "domains clients address; a host name below one names a bucket or zone",
		set: list(func(c *serveConfig) *[]string { return &c.node.BaseDomains })},
	{key: "qingstor_zone", kind: "text", def: "pek3a", help: "zone ID shown to clients",
		set: text(func(c *serveConfig) *string { return &c.node.QingStorZone })},
	{key: "fetch_hosts", kind: "list of hosts", help: "servers that clients may have objects fetched from: host, or host:port for other than the usual port; never an address that is not public; default: fetching is off",
		set: list(func(c *serveConfig) *[]string { return &c.node.FetchHosts })},
	{key: "registry_timeout", kind: "duration", def: "5s", help: "how long a request waits for the registry before it is answered 503",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.RegistryTimeout })},
	{key: "election_timeout", kind: "duration", def: "400ms", help: "how long the registry goes without its leader before another is elected; longer on slow or busy networks",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.ElectionTimeout })},
	{key: "registry_snapshot_entries", kind: "count", def: "8192", help: "log entries between two snapshots of the registry; a node that missed more than a few more is brought up by a snapshot",
		set: count(func(c *serveConfig) *int { return &c.node.SnapshotEntries })},
	{key: "gc_grace", kind: "duration", def: "10m", help: "how long the chunks of deleted, replaced and aborted uploads wait before they are freed; a reader that takes longer may be cut off",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.GCGrace })},
	{key: "gc_interval", kind: "duration", def: "10s", help: "pause between two looks at what is to be freed",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.GCInterval })},
	{key: "orphan_interval", kind: "duration", def: "1h", help: "pause between two passes over a store that look for chunks no record names",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.OrphanInterval })},
	{key: "payload_memory", kind: "MiB", def: "128", help: "payload held in memory for clients of this node; a request that finds no room is answered 503",
		set: count(func(c *serveConfig) *int { return &c.node.PayloadMemory })},
	{key: "heal_interval", kind: "duration", def: "10m", help: "pause between two passes over the records that look for chunks missing on a store",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.HealInterval })},
	{key: "heal_bandwidth", kind: "count", def: "67108864", help: "how many bytes a second the node moves to rebuild chunks, what it reads for that included",
		set: count(func(c *serveConfig) *int { return &c.node.HealBandwidth })},
	{key: "out_grace", kind: "duration", def: "10m", help: "how long a node does not answer the leader before its stores are out and others take their slots",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.OutGrace })},
	{key: "rebalance", kind: "on or off", def: "on", help: "whether stores with fewer slots than others are filled up",
		set: text(func(c *serveConfig) *string { return &c.node.Rebalance })},
	{key: "scrub_period", kind: "duration", def: "168h", help: "how long the node takes to read a whole store once and verify every byte",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.ScrubPeriod })},
	{key: "stall_timeout", kind: "duration", def: "60s", help: "how long a client may send nothing of a body it announced, or take nothing of an answer, before its connection is cut; one that is merely slow never is",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.StallTimeout })},
	{key: "drain_timeout", kind: "duration", def: "20s", help: "how long a stopping node waits for requests in flight",
		set: duration(func(c *serveConfig) *time.Duration { return &c.node.DrainTimeout })},
	{key: "log_level", kind: "debug, info, warn or error", def: "info", help: "least level that is logged",
		set: func(c *serveConfig, s string) error { return c.logLevel.UnmarshalText([]byte(s)) }},
	{key: "log_format", kind: "text or json", def: "text", help: "form of the log on standard error",
		set: func(c *serveConfig, s string) error {
			c.logFormat = s
			if s != "text" && s != "json" {
				return fmt.Errorf("%q is neither text nor json", s)
			}
			return nil
		}},
}

func flagName(key string) string { return strings.ReplaceAll(key, "_", "-") }
func envName(key string) string  { return envPrefix + strings.ToUpper(key) }

// names returns the keys under which the setting may be given: its own, and for
// a secret that of the file that holds it.
func (s setting) names() []string {
	if s.secret {
		return []string{s.key, s.key + fileSuffix}
	}
	return []string{s.key}
}

func text(field func(*serveConfig) *string) func(*serveConfig, string) error {
	return func(c *serveConfig, s string) error {
		*field(c) = s
		return nil
	}
}

func list(field func(*serveConfig) *[]string) func(*serveConfig, string) error {
	return func(c *serveConfig, s string) error {
		for item := range strings.SplitSeq(s, ",") {
			if item = strings.TrimSpace(item); item != "" {
				*field(c) = append(*field(c), item)
			}
		}
		return nil
	}
}

func count(field func(*serveConfig) *int) func(*serveConfig, string) error {
	return func(c *serveConfig, s string) error {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return fmt.Errorf("%q is not a count of at least 1", s)
		}
		*field(c) = n
		return nil
	}
}

func duration(field func(*serveConfig) *time.Duration) func(*serveConfig, string) error {
	return func(c *serveConfig, s string) error {
		d, err := time.ParseDuration(s)
		if err != nil || d <= 0 {
			return fmt.Errorf("%q is not a duration such as 5s", s)
		}
		*field(c) = d
		return nil
	}
}
