package layout

// A part that was given with a customer's key is sealed before it is encoded:
// each SealedBlock bytes of payload, the last ones perhaps fewer, become as many
// and SealOverhead more. These are part of the format of sealed parts.
const (
	SealedBlock  = 64 << 10
	SealOverhead = 16
)

// SealedSize is how many bytes a payload has once it is sealed.
func SealedSize(payload int64) int64 {
	blocks := (payload + SealedBlock - 1) / SealedBlock
	return payload + blocks*SealOverhead
}
