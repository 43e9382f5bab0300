package main

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const (
	envPrefix  = "PARTSTORE_"
	fileSuffix = "_file"
	configFlag = "config"
	configEnv  = envPrefix + "CONFIG"
)

// foreignEnv are variables under our prefix that belong to partctl.
var foreignEnv = []string{envPrefix + "ADMIN"}

// source is one place settings come from: what it is called, and the raw
// values it gives by key.
type source struct {
	name   string
	values map[string]string
}

// value is a setting with the text that won and where it came from.
type value struct {
	setting
	text   string // "" for none
	origin string
}

// resolve finds the value of every setting: flags beat the environment, which
// beats the file, which beats the defaults. It returns all values it found
// together with everything wrong.
func resolve(flags *pflag.FlagSet, environ []string) ([]value, error) {
	env, errEnv := fromEnviron(environ)
	path := env.values[configEnv]
	delete(env.values, configEnv)
	if f := flags.Lookup(configFlag); f.Changed {
		path = f.Value.String()
	}
	file, errFile := fromFile(path)
	sources := []source{fromFlags(flags), env, file}

	errs := []error{errEnv, errFile}
	var values []value
	for _, s := range settings {
		v, err := s.resolve(sources)
		values = append(values, v)
		errs = append(errs, err)
	}
	return values, errors.Join(errs...)
}

// resolve takes the setting from the first source that has it.
func (s setting) resolve(sources []source) (value, error) {
	for _, src := range sources {
		text, given := src.values[s.key]
		path, inFile := src.values[s.key+fileSuffix]
		switch inFile = inFile && s.secret; {
		case given && inFile:
			return value{setting: s}, fmt.Errorf("%s: both %s and %s%s are set", src.name, s.key, s.key, fileSuffix)
		case given:
			return value{s, text, src.name}, nil
		case inFile:
			b, err := os.ReadFile(path)
			if err != nil {
				return value{setting: s}, fmt.Errorf("%s%s: %w", s.key, fileSuffix, err)
			}
			return value{s, strings.TrimRight(string(b), "\r\n"), src.name + ", from " + path}, nil
		}
	}
	return value{s, s.def, "default"}, nil
}

// addSettingFlags gives a command a flag for every setting.
func addSettingFlags(flags *pflag.FlagSet) {
	flags.String(configFlag, "", "YAML `file` of settings; also "+configEnv)
	for _, s := range settings {
		if s.secret {
			flags.String(flagName(s.key+fileSuffix), "", "`path` of a file that holds: "+s.help)
			continue
		}
		help := fmt.Sprintf("%s (%s)", s.help, s.kind)
		if s.def != "" {
			help += fmt.Sprintf(" (default %s)", s.def)
		}
		flags.String(flagName(s.key), "", help)
	}
}

func fromFlags(flags *pflag.FlagSet) source {
	src := source{"flag", map[string]string{}}
	flags.Visit(func(f *pflag.Flag) {
		if f.Name != configFlag {
			src.values[strings.ReplaceAll(f.Name, "-", "_")] = f.Value.String()
		}
	})
	return src
}

// fromEnviron takes what begins with our prefix. An empty variable counts as
// unset: compose files cannot say it otherwise.
func fromEnviron(environ []string) (source, error) {
	src := source{"environment", map[string]string{}}
	known := map[string]string{configEnv: configEnv}
	for _, s := range settings {
		for _, name := range s.names() {
			known[envName(name)] = name
		}
	}
	var errs []error
	for _, pair := range environ {
		name, text, _ := strings.Cut(pair, "=")
		if !strings.HasPrefix(name, envPrefix) || slices.Contains(foreignEnv, name) || text == "" {
			continue
		}
		if key, ok := known[name]; ok {
			src.values[key] = text
		} else {
			errs = append(errs, fmt.Errorf("environment: unknown variable %s", name))
		}
	}
	return src, errors.Join(errs...)
}

func fromFile(path string) (source, error) {
	src := source{"file", map[string]string{}}
	if path == "" {
		return src, nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return src, err
	}
	src.values, err = parseFile(b)
	if err != nil {
		return src, fmt.Errorf("%s: %w", path, err)
	}
	return src, nil
}

// parseFile reads a YAML mapping of settings to scalars or lists of scalars.
func parseFile(b []byte) (map[string]string, error) {
	var doc map[string]yaml.Node
	if err := yaml.Unmarshal(b, &doc); err != nil {
		return map[string]string{}, err
	}
	var known []string
	for _, s := range settings {
		known = append(known, s.names()...)
	}
	values := map[string]string{}
	var errs []error
	for key, n := range doc {
		text, err := scalars(&n)
		switch {
		case !slices.Contains(known, key):
			err = fmt.Errorf("line %d: unknown setting %q", n.Line, key)
		case err != nil:
			err = fmt.Errorf("line %d: %s %w", n.Line, key, err)
		default:
			values[key] = text
		}
		errs = append(errs, err)
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	return values, errors.Join(errs...)
}

// scalars returns the text of a scalar, or of a list joined by commas.
func scalars(n *yaml.Node) (string, error) {
	items := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		items = n.Content
	}
	var texts []string
	for _, item := range items {
		if item.Kind != yaml.ScalarNode || item.Tag == "!!null" {
			return "", errors.New("needs a value or a list of values")
		}
		texts = append(texts, item.Value)
	}
	return strings.Join(texts, ","), nil
}

// build turns values into a configuration and reports everything wrong at once.
func build(values []value) (serveConfig, error) {
	var c serveConfig
	var errs []error
	for _, v := range values {
		if v.text == "" {
			continue
		}
		if err := v.set(&c, v.text); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", v.key, err))
		}
	}
	errs = append(errs, c.node.Validate())
	return c, errors.Join(errs...)
}
