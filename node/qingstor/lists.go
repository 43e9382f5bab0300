package qingstor

// longestList is how many items the longest list in a JSON text has. Items of
// two bytes become values of a hundred, so who reads lists looks at this before
// it makes anything of them. Of a text that is no JSON it says nothing useful.
func longestList(text []byte) (most int) {
	var items []int // of each open list, outermost first; objects are lists of -1
	quoted, escaped := false, false
	for _, b := range text {
		switch {
		case escaped:
			escaped = false
		case quoted:
			escaped, quoted = b == '\\', b != '"'
		case b == '"':
			quoted = true
		case b == '[' || b == '{':
			if len(items) == maxNesting {
				return most // encoding/json refuses it as well
			}
			items = append(items, map[byte]int{'[': 1, '{': -1}[b])
		case b == ',' && len(items) > 0 && items[len(items)-1] > 0:
			items[len(items)-1]++
			most = max(most, items[len(items)-1])
		case (b == ']' || b == '}') && len(items) > 0:
			items = items[:len(items)-1]
		}
	}
	return most
}

// maxNesting is how deep encoding/json goes.
const maxNesting = 10_000
