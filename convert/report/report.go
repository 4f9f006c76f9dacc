// Package report writes plans, inventories and states as text, laid out for the
// columns of the terminal. What a host or a guest named is printed with its
// control characters shown, so that no name can write to the terminal.
//
// Words: a [View] is what a report shows of a plan, as data. A [Form] is how text
// is laid out.
package report
