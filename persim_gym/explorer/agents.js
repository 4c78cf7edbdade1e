// The agents as points on a map; a click or the arrow keys choose one.
export default {
  template: `
    <svg class="map" viewBox="-0.06 -0.06 1.12 1.12" role="application" tabindex="0" :aria-label="label" @keydown="key">
      <circle v-for="(p, k) in places" :key="k" :cx="p[0]" :cy="1 - p[1]" :r="r" @click="choose(k)">
        <title>{{ names[k] }}</title>
      </circle>
      <circle v-if="b !== null" class="chosen b" :cx="places[b][0]" :cy="1 - places[b][1]" :r="r * 1.7" />
      <circle class="chosen a" :cx="places[a][0]" :cy="1 - places[a][1]" :r="r * 1.7" />
    </svg>`,
  props: { places: Array, names: Array, a: Number, b: Number },
  computed: {
    r() { return this.places.length > 150 ? 0.012 : 0.02; },
    label() {
      return `Map of ${this.places.length} agents by their latent factors. Chosen: ${this.names[this.a]}. ` +
        "Arrow keys go to the nearest agent in that direction.";
    },
  },
  methods: {
    choose(k) { this.$emit("choose", { index: k }); },
    key(event) {
      const way = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[event.key];
      if (!way) return;
      event.preventDefault();
      const here = this.places[this.a];
      let best = null, least = Infinity;
      this.places.forEach((p, k) => {
        const d = [p[0] - here[0], p[1] - here[1]];
        const along = d[0] * way[0] + d[1] * way[1];
        const across = Math.abs(d[0] * way[1] - d[1] * way[0]);
        if (k !== this.a && along > 0 && across <= along && along + 2 * across < least) {
          [best, least] = [k, along + 2 * across];
        }
      });
      if (best !== null) this.choose(best);
    },
  },
};
