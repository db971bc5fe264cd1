// What figures do when they are clicked. `bind` finds it by the name that a figure carries in layout.meta.
const actions = {
  // A click on an entry leaves only the entries of the same value in colour; another click, or beside, brings all back.
  matrix(figure) {
    const all = [figure.data[0].z, figure.data[1].z];
    let chosen = null;
    figure.on("plotly_click", ({ points: [point] }) => {
      if (point.curveNumber > 1) return;
      const again = chosen && chosen[0] === point.curveNumber && chosen[1] === point.z;
      chosen = again ? null : [point.curveNumber, point.z];
      all.forEach((z, number) => {
        const kept = chosen && chosen[0] === number ? z.map((line) => line.map((v) => (v === chosen[1] ? v : null))) : z;
        Plotly.restyle(figure, { z: [kept] }, [number]);
      });
    });
  },
  // A click on the map moves the slider to the position that stands there.
  footprint(figure) {
    const { source, target, positions } = figure.layout.meta;
    figure.on("plotly_click", ({ points: [point] }) => {
      const place = [point.y, point.x].map((p, axis) => Math.floor(((p + 0.5) * target[axis]) / source[axis]));
      if (place.some((p, axis) => p < 0 || p >= target[axis])) return;
      const number = place[0] * target[1] + place[1];
      if (number >= positions) return;
      const [slider] = figure.layout.sliders;
      Plotly.relayout(figure, { "sliders[0].active": number });
      Plotly.animate(figure, ...slider.steps[number].args);
    });
  },
};

function bind(figure) {
  const action = actions[(figure.layout.meta || {}).action];
  if (action) action(figure);
}
