// The actions of a plan, step by step: drawn with the pointer, or with arrow keys.
const LEFT = 52, RIGHT = 10, TOP = 8, BOTTOM = 20;

function said(x) { return String(+x.toPrecision(4)).replace("-", "−"); }

export default {
  template: `
    <figure class="schedule">
      <figcaption>{{ name }} <small>{{ hint }}</small></figcaption>
      <svg ref="svg" :height="height" role="group" :aria-label="name + ', a slider for each step'"
           @pointerdown="begin" @pointermove="move" @pointerup="end" @pointercancel="end">
        <g class="grid">
          <template v-for="t in levels" :key="t.value">
            <line :x1="left" :x2="width - 10" :y1="y(t.value)" :y2="y(t.value)" />
            <text :x="left - 7" :y="y(t.value) + 4" text-anchor="end">{{ t.label }}</text>
          </template>
        </g>
        <rect v-if="recorded" class="recorded-range" :x="left" :width="inner"
              :y="y(recorded[1])" :height="Math.max(2, y(recorded[0]) - y(recorded[1]))" />
        <g v-for="(v, k) in own" :key="k" :ref="'s' + k" role="slider" :tabindex="k === focus ? 0 : -1"
           :aria-label="name + ', step ' + (k + 1)" :aria-valuemin="low" :aria-valuemax="high"
           :aria-valuenow="v" :aria-valuetext="text(v)" @keydown="key($event, k)" @focus="focus = k"
           :class="['bar', side]">
          <rect class="hit" :x="x(k)" :y="top" :width="wide" :height="tall" />
          <rect class="value" :x="x(k) + 0.5" :width="Math.max(1, wide - 1)"
                :y="Math.min(y(v), y(base)) - 1" :height="Math.abs(y(v) - y(base)) + 2" />
        </g>
      </svg>
    </figure>`,
  props: {
    name: String, held: String, sent: Number, low: Number, high: Number, increment: Number,
    choices: Array, recorded: Array, side: String, hint: String,
  },
  data() {
    return { own: JSON.parse(this.held), width: 420, height: 110, focus: 0, drag: null, left: LEFT, top: TOP };
  },
  computed: {
    inner() { return Math.max(10, this.width - LEFT - RIGHT); },
    tall() { return this.height - TOP - BOTTOM; },
    wide() { return this.inner / Math.max(1, this.own.length); },
    base() { return this.choices.length ? -0.5 : Math.min(Math.max(0, this.low), this.high); },
    ends() { return this.choices.length ? [-0.5, this.high + 0.2] : [this.low, this.high]; },
    levels() {
      if (this.choices.length && this.choices.length <= 5)
        return this.choices.map((label, value) => ({ value, label }));
      const values = [...new Set([this.low, this.base, this.high].map((x) => Math.max(x, this.low)))];
      return values.map((value) => ({ value, label: this.text(value) }));
    },
  },
  watch: {
    sent() { if (this.drag === null) this.own = JSON.parse(this.held); },
    own(now) { this.focus = Math.min(this.focus, now.length - 1); },
  },
  mounted() {
    const fit = () => { this.width = this.$el.clientWidth || this.width; };
    this.watcher = new ResizeObserver(fit);
    this.watcher.observe(this.$el);
    fit();
  },
  unmounted() { this.watcher.disconnect(); },
  methods: {
    text(v) { return this.choices[v] ?? said(v); },
    x(k) { return LEFT + this.wide * k; },
    y(v) {
      const [low, high] = this.ends;
      return TOP + this.tall * (1 - (v - low) / (high - low || 1));
    },
    snapped(v) {
      const steps = Math.round((v - this.low) / this.increment);
      return Math.min(this.high, Math.max(this.low, +(this.low + steps * this.increment).toPrecision(6)));
    },
    place(event) {
      const box = this.$refs.svg.getBoundingClientRect();
      const k = Math.floor((event.clientX - box.left - LEFT) / this.wide);
      const [low, high] = this.ends;
      const v = low + (1 - (event.clientY - box.top - TOP) / this.tall) * (high - low);
      return [Math.max(0, Math.min(this.own.length - 1, k)), this.snapped(v)];
    },
    begin(event) {
      this.$refs.svg.setPointerCapture(event.pointerId);
      this.drag = this.place(event);
      this.paint(...this.drag, ...this.drag);
    },
    move(event) {
      if (this.drag === null) return;
      const [k, v] = this.place(event);
      this.paint(...this.drag, k, v);
      this.drag = [k, v];
    },
    end() { this.drag = null; },
    // A straight line between two places, so that a fast pointer leaves no gaps.
    paint(k0, v0, k1, v1) {
      const n = Math.abs(k1 - k0);
      for (let i = 0; i <= n; i++) {
        const k = k0 + Math.sign(k1 - k0) * i;
        this.own[k] = this.snapped(n ? v0 + ((v1 - v0) * i) / n : v1);
      }
      this.tell();
    },
    tell() { this.$emit("paint", { values: [...this.own] }); },
    key(event, k) {
      const far = this.choices.length ? 1 : Math.max(1, Math.round((this.high - this.low) / this.increment / 10));
      const by = { ArrowUp: 1, ArrowDown: -1, PageUp: far, PageDown: -far }[event.key];
      const to = { Home: this.low, End: this.high }[event.key];
      const next = { ArrowRight: k + 1, ArrowLeft: k - 1 }[event.key];
      if (by === undefined && to === undefined && next === undefined) return;
      event.preventDefault();
      if (next !== undefined) {
        this.focus = Math.max(0, Math.min(this.own.length - 1, next));
        this.$refs["s" + this.focus][0].focus();
        return;
      }
      this.own[k] = to ?? this.snapped(this.own[k] + by * this.increment);
      this.tell();
    },
  },
};
