package compile

import (
	"fmt"
	"strings"
)

// shown is how many things a message names at most.
const shown = 5

// some names the first few of a list, and how many there are in all.
func some(list []string) string {
	if len(list) <= shown {
		return strings.Join(list, ", ")
	}
	return fmt.Sprintf("%s, … (%d in all)", strings.Join(list[:shown], ", "), len(list))
}
