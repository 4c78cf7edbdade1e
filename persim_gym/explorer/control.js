// A native input. What it holds is the browser's; a value of the server's is put in when it is sent.
export default {
  template: `<input />`,
  props: { held: [String, Number, Boolean], sent: Number },
  watch: { sent: { handler: "put", flush: "post" } },
  mounted() { this.put(); },
  methods: {
    put() {
      const ticked = ["checkbox", "radio"].includes(this.$el.type);
      this.$el[ticked ? "checked" : "value"] = this.held;
    },
  },
};
