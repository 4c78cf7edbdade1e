// A chart of one coordinate: courses with intervals, what was recorded, where support ends.
const LEFT = 52, RIGHT = 16, TOP = 8, BOTTOM = 22;

export function ticks(low, high, count) {
  const rough = (high - low) / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough) || rough;
  const found = [];
  for (let k = Math.ceil(low / step); k * step <= high + 1e-9 * step; k++) found.push(k * step);
  return found;
}

export function number(x) {
  if (x === null || x === undefined) return "–";
  const size = Math.abs(x);
  const text = size && (size < 1e-3 || size >= 1e5) ? x.toExponential(1) : String(+x.toPrecision(4));
  return text.replace("-", "−");
}

export default {
  template: `
    <figure class="chart">
      <figcaption>{{ chart.name }}</figcaption>
      <svg ref="svg" :height="height" role="img" :aria-label="chart.words"
           @pointermove="hover" @pointerdown="hover" @pointerleave="at = null" @click="pick">
        <defs><clipPath :id="clip"><rect :x="left" :y="top" :width="inner" :height="tall" /></clipPath></defs>
        <g class="grid">
          <template v-for="t in yTicks" :key="t">
            <line :x1="left" :x2="left + inner" :y1="y(t)" :y2="y(t)" />
            <text :x="left - 7" :y="y(t) + 4" text-anchor="end">{{ number(t) }}</text>
          </template>
          <text v-for="t in xTicks" :key="'x' + t" :x="x(t)" :y="height - 5" text-anchor="middle">{{ t }}</text>
        </g>
        <g :clip-path="'url(#' + clip + ')'">
          <line v-for="r in chart.range" :key="'r' + r" class="range" :x1="left" :x2="left + inner" :y1="y(r)" :y2="y(r)" />
          <template v-for="(line, i) in chart.lines" :key="i">
            <path :class="['band', sides[i]]" :d="band(line, 0, solid(line))" />
            <path :class="['band', 'off', sides[i]]" :d="band(line, solid(line), chart.steps)" />
          </template>
          <g class="recorded">
            <circle v-for="(v, k) in chart.recorded" :key="k" v-show="v !== null && chart.recorded.length > 1"
                    :cx="x(k)" :cy="y(v)" :r="chart.steps > 80 ? 1.4 : 2" />
          </g>
          <template v-for="(line, i) in chart.lines" :key="'l' + i">
            <path v-if="line.truth" :class="['true', sides[i]]" :d="path(line.truth, 0, chart.steps)" />
            <path :class="['mean', sides[i]]" :d="path(line.mean, 0, solid(line))" />
            <path :class="['mean', 'off', sides[i]]" :d="path(line.mean, solid(line), chart.steps)" />
            <line v-if="line.support" :class="['support', sides[i]]" :x1="x(line.support)" :x2="x(line.support)"
                  :y1="top" :y2="top + tall" />
          </template>
          <line class="step" :x1="x(step)" :x2="x(step)" :y1="top" :y2="top + tall" />
          <line v-if="at !== null" class="hover" :x1="x(at)" :x2="x(at)" :y1="top" :y2="top + tall" />
        </g>
      </svg>
      <div v-if="at !== null" class="tip" :style="tip" aria-hidden="true">
        <b>step {{ at }}</b>
        <span v-for="row in said" :class="row[0]">{{ row[1] }}</span>
      </div>
    </figure>`,
  props: { text: String, step: Number },
  data: () => ({ width: 420, height: 190, at: null, sides: ["a", "b"], left: LEFT, top: TOP }),
  computed: {
    chart() { return JSON.parse(this.text); },
    clip() { return "clip" + this.$.uid; },
    inner() { return Math.max(10, this.width - LEFT - RIGHT); },
    tall() { return this.height - TOP - BOTTOM; },
    yTicks() { return ticks(this.chart.axis[0], this.chart.axis[1], 4); },
    xTicks() { return ticks(0, this.chart.steps, Math.max(2, this.width / 90)).filter(Number.isInteger); },
    tip() {
      const right = this.x(this.at) > this.width / 2;
      return right ? { right: this.width - this.x(this.at) + 8 + "px" } : { left: this.x(this.at) + 8 + "px" };
    },
    said() {
      const k = this.at, both = this.chart.lines.length > 1;
      const rows = this.chart.lines.flatMap((line, i) => {
        const interval = line.low ? ` (${number(line.low[k])} to ${number(line.high[k])})` : "";
        const whom = both ? "AB"[i] + " " : "";
        const own = [[this.sides[i], `${whom}predicted ${number(line.mean[k])}${interval}`]];
        return line.truth ? [...own, ["true", `${whom}true ${number(line.truth[k])}`]] : own;
      });
      if (k < this.chart.recorded.length && this.chart.recorded.length > 1)
        rows.push(["recorded", `recorded ${number(this.chart.recorded[k])}`]);
      return rows;
    },
  },
  mounted() {
    const fit = () => {
      this.width = this.$el.clientWidth || this.width;
      this.height = parseInt(getComputedStyle(this.$el).getPropertyValue("--chart-height")) || 190;
    };
    this.watcher = new ResizeObserver(fit);
    this.watcher.observe(this.$el);
    fit();
  },
  unmounted() { this.watcher.disconnect(); },
  methods: {
    number,
    x(k) { return LEFT + (this.inner * k) / Math.max(1, this.chart.steps); },
    y(v) {
      const [low, high] = this.chart.axis;
      const place = TOP + this.tall * (1 - (v - low) / (high - low));
      return Math.max(-1e4, Math.min(1e4, place));
    },
    // Where the line is no longer to be relied on: support or the episode has ended.
    solid(line) {
      const ends = [line.support && line.support - 1, line.ends].filter((k) => k !== null);
      return Math.min(this.chart.steps, ...ends);
    },
    path(values, from, to) {
      let d = "", pen = "M";
      for (let k = from; k <= to && k < values.length; k++) {
        if (values[k] === null) { pen = "M"; continue; }
        d += `${pen}${this.x(k).toFixed(1)} ${this.y(values[k]).toFixed(1)}`;
        pen = "L";
      }
      return d;
    },
    band(line, from, to) {
      if (!line.low || from >= to) return "";
      const up = [], down = [];
      for (let k = from; k <= to; k++) {
        if (line.low[k] === null || line.high[k] === null) continue;
        up.push(`${this.x(k).toFixed(1)} ${this.y(line.high[k]).toFixed(1)}`);
        down.push(`${this.x(k).toFixed(1)} ${this.y(line.low[k]).toFixed(1)}`);
      }
      return up.length ? "M" + up.join("L") + "L" + down.reverse().join("L") + "Z" : "";
    },
    stepAt(event) {
      const box = this.$refs.svg.getBoundingClientRect();
      const k = Math.round(((event.clientX - box.left - LEFT) / this.inner) * this.chart.steps);
      return Math.max(0, Math.min(this.chart.steps, k));
    },
    hover(event) { this.at = this.stepAt(event); },
    pick(event) { this.$emit("pick", { step: this.stepAt(event) }); },
  },
};
