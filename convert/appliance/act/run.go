package act

import (
	"context"
	"errors"
	"time"

	"esxodus/convert/appliance"
	"esxodus/convert/guest"
)

// Run launches an appliance over disks, which must be overlays, carries a
// conversion out in it, and ends it. Only without an error do the overlays
// hold the converted guest, synced; else they are to be thrown away.
func Run(ctx context.Context, tool appliance.Starter, disks []appliance.Disk, o appliance.Options, c guest.Conversion, in Input) (Result, error) {
	if in.Report != nil {
		in.Report("starting the appliance")
	}
	start := time.Now()
	a, err := appliance.Start(ctx, tool, disks, o)
	if err != nil {
		return Result{}, err
	}
	launched := Took{"starting the appliance", time.Since(start).Seconds()}
	res, err := Apply(ctx, a, a.FS(ctx), c, in)
	if err != nil {
		return res, errors.Join(err, a.Abandon())
	}
	res.Took = append([]Took{launched}, res.Took...)
	return res, a.Close(ctx)
}
