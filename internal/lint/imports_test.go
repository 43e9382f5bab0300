package lint

import (
	"go/ast"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// mayImport lists, for each package, the packages of this module that it may
// import. docs/architecture.md explains the table; change both together. Every
// package has a row. Tests may import more: the arrows are about what a package
// is made of.
var mayImport = map[string][]string{
	"internal/layout":           {},
	"internal/vfs":              {},
	"internal/lint":             {},
	"internal/durability":       {"internal/layout"},
	"internal/simulation":       {"internal/layout"},
	"chunkstore":                {"internal/layout", "internal/vfs"},
	"chunkstore/chunkstoretest": {"internal/layout", "internal/vfs", "chunkstore"},
	"metadata":                  {"internal/layout", "internal/vfs"},
	"node/erasure":              {"internal/layout"},
	"node/cluster":              {"internal/layout"},
	"node/peer":                 {"internal/layout", "chunkstore"},
	"node/qingstor":             {"internal/layout", "metadata", "node/erasure", "node/qingstor/picture"},
	"node/qingstor/picture":     {},
	"node/datadir":              {"internal/layout", "internal/vfs", "chunkstore", "metadata", "node/peer"},
	"node/admin":                {"internal/layout", "metadata"},
	"node/control":              {"internal/layout", "metadata"},
	"node/repair":               {"internal/layout", "chunkstore", "metadata", "node/erasure"},
	"node": {
		"internal/layout", "internal/vfs", "chunkstore", "metadata",
		"node/admin", "node/cluster", "node/control", "node/datadir", "node/erasure", "node/peer", "node/qingstor", "node/repair",
	},
	"internal/embedded":    {"internal/layout", "node"},
	"internal/history":     {},
	"internal/lan":         {},
	"internal/processes":   {"node/admin"},
	"internal/qsclient":    {},
	"internal/testrand":    {},
	"internal/testcluster": {"internal/embedded", "internal/layout", "internal/qsclient", "internal/testwait", "node", "node/admin"},
	"internal/testwait":    {"node/admin"},
	"cmd/partd":            {"internal/embedded", "internal/layout", "internal/vfs", "chunkstore", "node", "node/admin"},
	"cmd/partctl":          {"internal/durability", "internal/simulation", "internal/layout", "metadata", "node/admin", "node/datadir"},
	"cmd/partload":         {"internal/layout", "internal/qsclient", "node/admin"},
	"tests/bench":          {"internal/processes"},
	"tests/mutants":        {},
	"tests/compose":        {},
}

// owner says which package alone may import a third-party module. What a module
// promises, and how it fails, is then known in one place.
var owner = map[string][]string{
	"github.com/hashicorp/raft":               {"metadata"},
	"github.com/hashicorp/raft-boltdb/v2":     {"metadata"},
	"go.etcd.io/bbolt":                        {"metadata"},
	"github.com/cockroachdb/pebble/v2":        {"metadata"},
	"github.com/hashicorp/go-hclog":           {"metadata"},
	"github.com/hashicorp/memberlist":         {"node/cluster"},
	"github.com/klauspost/reedsolomon":        {"node/erasure"},
	"github.com/spf13/cobra":                  {"cmd/partd", "cmd/partctl", "cmd/partload"},
	"github.com/spf13/pflag":                  {"cmd/partd", "cmd/partctl", "cmd/partload"},
	"github.com/jedib0t/go-pretty/v6":         {"cmd/partd", "cmd/partctl", "cmd/partload"},
	"github.com/HdrHistogram/hdrhistogram-go": {"cmd/partload"},
	"github.com/aws/aws-sdk-go-v2":            {"cmd/partload"},
	"github.com/aws/smithy-go":                {"cmd/partload"},
	"go.yaml.in/yaml/v3":                      {"cmd/partd"},
	"golang.org/x/text":                       {"node/qingstor"},
	"golang.org/x/image":                      {"node/qingstor/picture"},
	"github.com/hajimehoshi/bitmapfont/v3":    {"node/qingstor/picture"},
	"github.com/anishathalye/porcupine":       {"internal/history"},
}

func TestImportsRunDownwards(t *testing.T) {
	for _, s := range sources(t) {
		allowed, known := mayImport[s.dir]
		if !known && !s.test {
			t.Errorf("%s: package has no row in mayImport", s.path)
			continue
		}
		if s.test {
			continue
		}
		for _, imp := range importsOf(s.file) {
			dep, ours := strings.CutPrefix(imp, module)
			if ours && !slices.Contains(allowed, dep) {
				t.Errorf("%s imports %s; %s may import %v", s.path, dep, s.dir, allowed)
			}
		}
	}
}

func TestThirdPartyModulesHaveOneOwner(t *testing.T) {
	for _, s := range sources(t) {
		for _, imp := range importsOf(s.file) {
			for mod, owners := range owner {
				if (imp == mod || strings.HasPrefix(imp, mod+"/")) && !slices.Contains(owners, s.dir) {
					t.Errorf("%s imports %s, which belongs to %v", s.path, imp, owners)
				}
			}
		}
	}
}

func importsOf(f *ast.File) []string {
	var imports []string
	for _, spec := range f.Imports {
		path, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			panic(err) // the parser accepted it
		}
		imports = append(imports, path)
	}
	return imports
}
