package processtest_test

import "context"

func burnerMain(context.Context, []string) int { return 0 }
