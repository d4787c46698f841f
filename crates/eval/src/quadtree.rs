//! A quadtree over points of the plane: the repulsion of far points is that of their centre of mass.

/// Halvings at most: beyond 50 the cells are smaller than what f64 tells apart, so the points are equal.
const DEPTH: usize = 50;

struct Cell {
    /// Mean of the points inside.
    centre: [f64; 2],
    /// Number of points inside.
    mass: f64,
    /// Side, squared.
    squared_side: f64,
    /// Number of the first of up to four consecutive children, and how many; none for a leaf.
    children: (usize, usize),
}

/// The tree over one set of points.
pub(crate) struct Quadtree {
    cells: Vec<Cell>,
}

impl Quadtree {
    pub(crate) fn new(points: &[[f64; 2]]) -> Self {
        let (mut least, mut most) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for point in points {
            for axis in 0..2 {
                least[axis] = least[axis].min(point[axis]);
                most[axis] = most[axis].max(point[axis]);
            }
        }
        let middle = [0, 1].map(|axis| f64::midpoint(least[axis], most[axis]));
        let half = (most[0] - least[0]).max(most[1] - least[1]) / 2.0;
        let mut tree = Self { cells: Vec::with_capacity(2 * points.len()) };
        if !points.is_empty() {
            let mut points = points.to_vec();
            tree.cells.push(cell(&points, half));
            tree.divide(0, &mut points, middle, half, DEPTH);
        }
        tree
    }

    /// Sorts the points of a cell by quadrant and gives each quadrant that has any a child cell.
    fn divide(&mut self, parent: usize, points: &mut [[f64; 2]], middle: [f64; 2], half: f64, depth: usize) {
        if points.len() < 2 || depth == 0 || half == 0.0 {
            return;
        }
        let quadrant =
            |point: &[f64; 2]| usize::from(point[0] >= middle[0]) + 2 * usize::from(point[1] >= middle[1]);
        points.sort_by_key(quadrant);
        let first = self.cells.len();
        let quarter = half / 2.0;
        let groups: Vec<_> = points.chunk_by_mut(|a, b| quadrant(a) == quadrant(b)).collect();
        groups.iter().for_each(|group| self.cells.push(cell(group, quarter)));
        self.cells[parent].children = (first, groups.len());
        for (child, group) in groups.into_iter().enumerate() {
            let number = quadrant(&group[0]);
            let side = |positive: bool| if positive { quarter } else { -quarter };
            let middle = [middle[0] + side(number & 1 == 1), middle[1] + side(number & 2 == 2)];
            self.divide(first + child, group, middle, quarter, depth - 1);
        }
    }

    /// `sum_j q^2 (y_i - y_j)` and `sum_j q` over all other points j, for a point of the tree at `place`.
    pub(crate) fn push(&self, place: [f64; 2], theta: f64) -> ([f64; 2], f64) {
        let (mut force, mut z) = ([0.0; 2], 0.0);
        let mut open = Vec::with_capacity(4 * DEPTH);
        open.push(0..self.cells.len().min(1));
        while let Some(cells) = open.pop() {
            for cell in &self.cells[cells] {
                let (dx, dy) = (place[0] - cell.centre[0], place[1] - cell.centre[1]);
                let squared = dx * dx + dy * dy;
                let (first, children) = cell.children;
                if children > 0 && cell.squared_side >= theta * theta * squared {
                    open.push(first..first + children);
                    continue;
                }
                let q = 1.0 / (1.0 + squared);
                z += cell.mass * q;
                force[0] += cell.mass * q * q * dx;
                force[1] += cell.mass * q * q * dy;
            }
        }
        // The point itself was met with q = 1 and no force.
        (force, z - 1.0)
    }
}

fn cell(points: &[[f64; 2]], half: f64) -> Cell {
    let mass = points.len() as f64;
    let sum = points.iter().fold([0.0, 0.0], |sum, point| [sum[0] + point[0], sum[1] + point[1]]);
    Cell { centre: [sum[0] / mass, sum[1] / mass], mass, squared_side: 4.0 * half * half, children: (0, 0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn exact(points: &[[f64; 2]], i: usize) -> ([f64; 2], f64) {
        let (mut force, mut z) = ([0.0; 2], 0.0);
        for (j, point) in points.iter().enumerate() {
            let (dx, dy) = (points[i][0] - point[0], points[i][1] - point[1]);
            let q = 1.0 / (1.0 + dx * dx + dy * dy);
            if j != i {
                z += q;
                force[0] += q * q * dx;
                force[1] += q * q * dy;
            }
        }
        (force, z)
    }

    proptest! {
        #[test]
        fn theta_zero_is_exact(points in prop::collection::vec((-9i32..9, -9i32..9), 1..80)) {
            let points: Vec<[f64; 2]> =
                points.into_iter().map(|(x, y)| [f64::from(x) / 3.0, f64::from(y) / 3.0]).collect();
            let tree = Quadtree::new(&points);
            for (i, point) in points.iter().enumerate() {
                let ((want, want_z), (got, z)) = (exact(&points, i), tree.push(*point, 0.0));
                prop_assert!((z - want_z).abs() < 1e-9, "{z} {want_z}");
                prop_assert!((got[0] - want[0]).abs() < 1e-9 && (got[1] - want[1]).abs() < 1e-9);
            }
        }
    }

    #[test]
    fn theta_a_half_is_close() {
        // A sunflower of 500 points, 60 wide.
        let point = |i: usize| (2.4 * i as f64).sin_cos();
        let points: Vec<[f64; 2]> = (0..500)
            .map(|i| {
                let radius = 30.0 * (i as f64 / 500.0).sqrt();
                [radius * point(i).0, radius * point(i).1]
            })
            .collect();
        let tree = Quadtree::new(&points);
        let (mut off, mut size) = (0.0, 0.0);
        for (i, point) in points.iter().enumerate() {
            let ((want, want_z), (got, z)) = (exact(&points, i), tree.push(*point, 0.5));
            assert!((z - want_z).abs() < 0.02 * want_z, "{z} {want_z}");
            off += (got[0] - want[0]).powi(2) + (got[1] - want[1]).powi(2);
            size += want[0].powi(2) + want[1].powi(2);
        }
        assert!((off / size).sqrt() < 0.03, "{}", (off / size).sqrt());
    }
}
