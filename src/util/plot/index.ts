/** Plots as SVG: axes with round numbers, forms beside colours, names for those who do not see them. */
export { barPlot } from "./bar-plot.ts";
export type { Bar, BarPlot } from "./bar-plot.ts";
export { dotPlot } from "./dot-plot.ts";
export type { DotPlot, DotRow } from "./dot-plot.ts";
export { flowPlot } from "./flow-plot.ts";
export type { FlowEdge, FlowNode, FlowPlot } from "./flow-plot.ts";
export { linePlot } from "./line-plot.ts";
export type { LinePlot, PlotLine } from "./line-plot.ts";
export { linearScale, logScale, shortNumber } from "./scale.ts";
export { escapeText, hue, markAt, STYLES } from "./svg.ts";
export type { Style } from "./svg.ts";
export { timelinePlot } from "./timeline-plot.ts";
export type { TimelineBar, TimelinePlot } from "./timeline-plot.ts";
export { xyPlot } from "./xy-plot.ts";
export type { Axis, PlotPoint, PlotSeries, XyPlot } from "./xy-plot.ts";
