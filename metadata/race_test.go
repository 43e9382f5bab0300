//go:build race

package metadata

const raceEnabled = true // and everything takes ten times as long
