// The parts that can be made. All lengths are millimetres, z points up, each part stands on z = 0.

import { reject } from "../lib/runner.mjs";

const SEGMENTS = 64; // of a full circle
const PRESSURE_ANGLE = (20 * Math.PI) / 180;
const THREAD_STEPS = 24; // of one turn
const LENGTH_PER_DIAMETER_MAX = 12; // bounds the triangles of a threaded bolt

// ISO metric coarse threads: pitch; hexagon across flats, heights of head and nut (ISO 4017, ISO 4032).
const threads = {
  M3: { diameter: 3, pitch: 0.5, flats: 5.5, head: 2, nut: 2.4 },
  M4: { diameter: 4, pitch: 0.7, flats: 7, head: 2.8, nut: 3.2 },
  M5: { diameter: 5, pitch: 0.8, flats: 8, head: 3.5, nut: 4.7 },
  M6: { diameter: 6, pitch: 1, flats: 10, head: 4, nut: 5.2 },
  M8: { diameter: 8, pitch: 1.25, flats: 13, head: 5.3, nut: 6.8 },
  M10: { diameter: 10, pitch: 1.5, flats: 16, head: 6.4, nut: 8.4 },
  M12: { diameter: 12, pitch: 1.75, flats: 18, head: 7.5, nut: 10.8 },
};

function requireAtMost(field, value, max, where) {
  if (value > max) reject(field, `at most ${Math.floor(max * 100) / 100} mm ${where}`);
}

/** Given the geometry library, returns one function for each shape: input -> Manifold. */
export function makeShapes({ CrossSection, Manifold }) {
  const { cylinder } = Manifold;

  function roundedRectangle(width, depth, radius) {
    if (radius <= 0) return CrossSection.square([width, depth], true);
    const core = CrossSection.square([width - 2 * radius, depth - 2 * radius], true);
    return core.offset(radius, "Round", 2, SEGMENTS);
  }

  function box({ width, depth, height, thickness, corner_radius, lid, clearance }) {
    const shortest = Math.min(width, depth);
    requireAtMost("thickness", thickness, Math.min(shortest / 4, height / 2), "in this box");
    // A little less than half, so that the straight core between the corners keeps an area.
    requireAtMost("corner_radius", corner_radius, shortest * 0.49, "in this box");
    if (lid) requireAtMost("clearance", clearance, thickness / 2, "for walls this thick");

    const outline = (inset) => roundedRectangle(width - 2 * inset, depth - 2 * inset, corner_radius - inset);
    const body = outline(0).extrude(height).subtract(outline(thickness).extrude(height).translate(0, 0, thickness));
    if (!lid) return body;

    const lip = outline(thickness + clearance).subtract(outline(2 * thickness));
    const lipHeight = Math.min(2 * thickness, height - thickness);
    const cover = outline(0).extrude(thickness).add(lip.extrude(thickness + lipHeight));
    return body.add(cover.translate(width + 10, 0, 0));
  }

  /** A spur gear with involute flanks, which are radial below the base circle. */
  function gear({ teeth, module, thickness, hole }) {
    const pitchRadius = (module * teeth) / 2;
    const baseRadius = pitchRadius * Math.cos(PRESSURE_ANGLE);
    const [rootRadius, tipRadius] = [pitchRadius - 1.25 * module, pitchRadius + module];
    requireAtMost("hole", hole, 2 * rootRadius - module, "in this gear");

    const involute = (angle) => Math.tan(angle) - angle;
    const halfWidth = (radius) =>
      Math.PI / (2 * teeth) + involute(PRESSURE_ANGLE) - involute(Math.acos(Math.min(1, baseRadius / radius)));
    const steps = 10;
    const start = Math.max(baseRadius, rootRadius);
    const radii = Array.from({ length: steps + 1 }, (_, i) => start + ((tipRadius - start) * i) / steps);
    const flank = [[rootRadius, halfWidth(start)], ...radii.map((radius) => [radius, halfWidth(radius)])];
    const tooth = [...flank.map(([radius, half]) => [radius, -half]), ...flank.reverse()];

    const outline = Array.from({ length: teeth }, (_, index) =>
      tooth.map(([radius, angle]) => {
        const turned = angle + (2 * Math.PI * index) / teeth;
        return [radius * Math.cos(turned), radius * Math.sin(turned)];
      }),
    ).flat();
    const wheel = new CrossSection([outline]);
    return (hole > 0 ? wheel.subtract(CrossSection.circle(hole / 2, SEGMENTS)) : wheel).extrude(thickness);
  }

  /** Two plates at a right angle, stiffened by a rib, with two screw holes in each. */
  function bracket({ width, depth, height, thickness, hole }) {
    const leg = Math.min(depth, height);
    requireAtMost("thickness", thickness, Math.min(leg / 4, width / 4), "in this bracket");
    requireAtMost("hole", hole, Math.min(width / 2 - 2 * thickness, (leg - thickness) / 2), "in this bracket");

    // Drawn as seen from the side, then laid out along the width.
    const t = thickness;
    const side = new CrossSection([[[0, 0], [depth, 0], [depth, t], [t, t], [t, height], [0, height]]]);
    const rib = new CrossSection([[[0, 0], [leg * 0.7, 0], [0, leg * 0.7]]]);
    const upright = (section, size) => section.extrude(size, 0, 0, [1, 1], true).rotate(90, 0, 0);
    const solid = upright(side, width).add(upright(rib, thickness));
    if (hole === 0) return solid;

    const drill = cylinder(4 * thickness, hole / 2, hole / 2, SEGMENTS, true);
    const middle = (size) => (size + thickness) / 2;
    const holes = [-width / 4, width / 4].flatMap((y) => [
      drill.translate(middle(depth), y, thickness / 2),
      drill.rotate(0, 90, 0).translate(thickness / 2, y, middle(height)),
    ]);
    return solid.subtract(Manifold.union(holes));
  }

  /**
   * A right-handed 60° thread along z. A cut across a thread is its profile wound once around the axis,
   * so turning that cut while extruding it makes the helix.
   */
  function threadedRod({ diameter, pitch }, length) {
    const [major, minor] = [diameter / 2, diameter / 2 - 0.5413 * pitch];
    // Shares of the pitch: crest 1/8, flank 5/16, root 1/4, flank 5/16.
    const profile = (share) => {
      const fromCrest = Math.abs(share - 0.5) - 1 / 16;
      return major - (major - minor) * Math.min(1, Math.max(0, fromCrest / (5 / 16)));
    };
    const section = Array.from({ length: THREAD_STEPS }, (_, i) => {
      const angle = (2 * Math.PI * i) / THREAD_STEPS;
      const radius = profile(i / THREAD_STEPS);
      return [radius * Math.cos(angle), radius * Math.sin(angle)];
    });
    const turns = length / pitch;
    return new CrossSection([section]).extrude(length, Math.ceil(turns * THREAD_STEPS), 360 * turns);
  }

  /** A hexagonal prism whose corners are cut at 30° below, and above too if `both`. */
  function hexagon(flats, height, both) {
    const corner = flats / Math.sqrt(3);
    const face = flats * 0.475;
    const cut = (corner - face) * Math.tan(Math.PI / 6);
    const top = both ? [[corner, height - cut], [face, height]] : [[corner, height]];
    const hull = new CrossSection([[[0, 0], [face, 0], [corner, cut], ...top, [0, height]]]).revolve(SEGMENTS);
    return cylinder(height, corner, corner, 6).intersect(hull);
  }

  function bolt({ thread, length }) {
    const size = threads[thread];
    requireAtMost("length", length, LENGTH_PER_DIAMETER_MAX * size.diameter, `for ${thread}`);

    // The cone touches the thread at its tip only: surfaces that coincide are slow to intersect.
    const core = size.diameter / 2 - size.pitch;
    const cone = cylinder(length, core + length, core, SEGMENTS);
    const shank = threadedRod(size, length).intersect(cone);
    return hexagon(size.flats, size.head, false).add(shank.translate(0, 0, size.head));
  }

  function nut({ thread, clearance }) {
    const { diameter, pitch, flats, nut: height } = threads[thread];
    const wide = diameter + 2 * clearance;
    const sink = cylinder(pitch, wide / 2 + pitch / 4, wide / 2 - (3 * pitch) / 4, SEGMENTS);
    const tap = threadedRod({ diameter: wide, pitch }, height + 2 * pitch).translate(0, 0, -pitch);
    const top = sink.mirror([0, 0, 1]).translate(0, 0, height);
    return hexagon(flats, height, true).subtract(Manifold.union([tap, sink, top]));
  }

  return { box, gear, bracket, bolt, nut };
}
