package sim

import "tracker/pkg/geo"

// kind is what vehicles of one sort have in common: metres, seconds.
type kind struct {
	name                string
	slow, fast          float64 // cruising speed
	accel               float64
	shortStop, longStop float64
	battery             bool
	flies               bool
	// next chooses where a vehicle goes from v.place; for those that fly also how high.
	next func(v *vehicle) (path []geo.Point, ceiling float64)
}

var (
	van   = kind{name: "van", slow: 8, fast: 14, accel: 1.2, shortStop: 60, longStop: 360, battery: true, next: around(1_000, 12_000)}
	truck = kind{name: "truck", slow: 20, fast: 25, accel: 0.3, shortStop: 1200, longStop: 3600, next: byRoad}
	bike  = kind{name: "bike", slow: 3, fast: 6.5, accel: 0.8, shortStop: 60, longStop: 600, battery: true, next: around(300, 4_000)}
	ship  = kind{name: "ship", slow: 6, fast: 11, accel: 0.02, shortStop: 7200, longStop: 36000, next: bySea}
	plane = kind{name: "plane", slow: 210, fast: 250, accel: 1.5, shortStop: 2400, longStop: 5400, flies: true, next: byAir}
)

// mix is the fleet's make-up, over and over.
var mix = [20]*kind{
	&van, &truck, &bike, &van, &ship, &van, &truck, &van, &bike, &plane,
	&van, &truck, &van, &ship, &bike, &van, &truck, &van, &van, &van,
}

func kindOf(number uint64) *kind { return mix[number%uint64(len(mix))] }

// around drives about in the vehicle's city, never further out than far.
func around(near, far float64) func(*vehicle) ([]geo.Point, float64) {
	return func(v *vehicle) ([]geo.Point, float64) {
		to := geo.Travel(cities[v.home].at, v.between(0, 360), geo.Meters(v.between(near/4, far/2)))
		if geo.Distance(v.place, to) < geo.Meters(near) {
			to = geo.Travel(v.place, geo.Bearing(v.place, to), geo.Meters(near))
		}
		return []geo.Point{v.place, to}, 0
	}
}

// maxHaul is how far a truck goes in one leg. Cities of one land that are closer than
// this have no sea between them worth mentioning.
const maxHaul geo.Meters = 620_000

// byRoad goes to a city of the same land; where there is none, about town.
func byRoad(v *vehicle) ([]geo.Point, float64) {
	first := v.pick(len(cities))
	for i := range cities {
		c := (first + i) % len(cities)
		if c == v.home || cities[c].land != cities[v.home].land {
			continue
		}
		if geo.Distance(cities[v.home].at, cities[c].at) > maxHaul {
			continue
		}
		v.home = c
		return []geo.Point{v.place, cities[c].at}, 0
	}
	return around(2_000, 20_000)(v)
}

// byAir goes to any city that is worth a flight.
func byAir(v *vehicle) ([]geo.Point, float64) {
	first := v.pick(len(cities))
	for i := range cities {
		c := (first + i) % len(cities)
		if d := geo.Distance(v.place, cities[c].at); d < 400_000 || d > 9_500_000 {
			continue
		}
		v.home = c
		return []geo.Point{v.place, cities[c].at}, v.between(9_000, 12_000)
	}
	panic("sim: every city has another within reach of a plane") // holds for the list below
}

// bySea sails up and down one lane.
func bySea(v *vehicle) ([]geo.Point, float64) {
	lane := lanes[v.lane]
	path := make([]geo.Point, len(lane))
	for i, p := range lane {
		if !v.outward {
			i = len(lane) - 1 - i
		}
		path[i] = geo.Deg(p[0], p[1])
	}
	v.outward = !v.outward
	return path, 0
}

// city is a place to live in; land tells which cities roads connect.
type city struct {
	name string
	at   geo.Point
	land string
}

var cities = []city{
	{"Lisbon", geo.Deg(38.72, -9.14), "iberia"},
	{"Madrid", geo.Deg(40.42, -3.70), "iberia"},
	{"Barcelona", geo.Deg(41.39, 2.17), "iberia"},
	{"Paris", geo.Deg(48.86, 2.35), "europe"},
	{"Lyon", geo.Deg(45.76, 4.84), "europe"},
	{"Brussels", geo.Deg(50.85, 4.35), "europe"},
	{"Amsterdam", geo.Deg(52.37, 4.90), "europe"},
	{"Hamburg", geo.Deg(53.55, 9.99), "europe"},
	{"Berlin", geo.Deg(52.52, 13.40), "europe"},
	{"Munich", geo.Deg(48.14, 11.58), "europe"},
	{"Vienna", geo.Deg(48.21, 16.37), "europe"},
	{"Prague", geo.Deg(50.08, 14.44), "europe"},
	{"Warsaw", geo.Deg(52.23, 21.01), "europe"},
	{"Budapest", geo.Deg(47.50, 19.04), "europe"},
	{"Belgrade", geo.Deg(44.79, 20.45), "europe"},
	{"Bucharest", geo.Deg(44.43, 26.10), "europe"},
	{"Milan", geo.Deg(45.46, 9.19), "italy"},
	{"Rome", geo.Deg(41.90, 12.50), "italy"},
	{"Istanbul", geo.Deg(41.01, 28.98), "anatolia"},
	{"Ankara", geo.Deg(39.93, 32.86), "anatolia"},
	{"London", geo.Deg(51.51, -0.13), "britain"},
	{"Manchester", geo.Deg(53.48, -2.24), "britain"},
	{"Edinburgh", geo.Deg(55.95, -3.19), "britain"},
	{"Oslo", geo.Deg(59.91, 10.75), "nordic"},
	{"Stockholm", geo.Deg(59.33, 18.07), "nordic"},
	{"Moscow", geo.Deg(55.76, 37.62), "russia"},
	{"Saint Petersburg", geo.Deg(59.93, 30.34), "russia"},
	{"Casablanca", geo.Deg(33.57, -7.59), "morocco"},
	{"Cairo", geo.Deg(30.04, 31.24), "egypt"},
	{"Lagos", geo.Deg(6.52, 3.38), "nigeria"},
	{"Abuja", geo.Deg(9.06, 7.49), "nigeria"},
	{"Nairobi", geo.Deg(-1.29, 36.82), "kenya"},
	{"Johannesburg", geo.Deg(-26.20, 28.05), "south africa"},
	{"Durban", geo.Deg(-29.86, 31.02), "south africa"},
	{"Cape Town", geo.Deg(-33.92, 18.42), "cape"},
	{"Dubai", geo.Deg(25.20, 55.27), "emirates"},
	{"Riyadh", geo.Deg(24.71, 46.68), "arabia"},
	{"Mumbai", geo.Deg(19.08, 72.88), "india"},
	{"Pune", geo.Deg(18.52, 73.86), "india"},
	{"Bengaluru", geo.Deg(12.97, 77.59), "south india"},
	{"Chennai", geo.Deg(13.08, 80.27), "south india"},
	{"Delhi", geo.Deg(28.61, 77.21), "north india"},
	{"Bangkok", geo.Deg(13.76, 100.50), "thailand"},
	{"Kuala Lumpur", geo.Deg(3.14, 101.69), "malaya"},
	{"Singapore", geo.Deg(1.35, 103.82), "malaya"},
	{"Jakarta", geo.Deg(-6.21, 106.85), "java"},
	{"Hong Kong", geo.Deg(22.32, 114.17), "pearl river"},
	{"Guangzhou", geo.Deg(23.13, 113.26), "pearl river"},
	{"Shanghai", geo.Deg(31.23, 121.47), "yangtze"},
	{"Nanjing", geo.Deg(32.06, 118.80), "yangtze"},
	{"Beijing", geo.Deg(39.90, 116.41), "north china"},
	{"Seoul", geo.Deg(37.57, 126.98), "korea"},
	{"Busan", geo.Deg(35.18, 129.08), "korea"},
	{"Tokyo", geo.Deg(35.68, 139.69), "japan"},
	{"Nagoya", geo.Deg(35.18, 136.91), "japan"},
	{"Osaka", geo.Deg(34.69, 135.50), "japan"},
	{"Sydney", geo.Deg(-33.87, 151.21), "australia"},
	{"Canberra", geo.Deg(-35.28, 149.13), "australia"},
	{"Melbourne", geo.Deg(-37.81, 144.96), "australia"},
	{"Auckland", geo.Deg(-36.85, 174.76), "new zealand"},
	{"New York", geo.Deg(40.71, -74.01), "america"},
	{"Boston", geo.Deg(42.36, -71.06), "america"},
	{"Washington", geo.Deg(38.91, -77.04), "america"},
	{"Atlanta", geo.Deg(33.75, -84.39), "south"},
	{"Nashville", geo.Deg(36.16, -86.78), "south"},
	{"Toronto", geo.Deg(43.65, -79.38), "canada"},
	{"Montreal", geo.Deg(45.50, -73.57), "canada"},
	{"Chicago", geo.Deg(41.88, -87.63), "midwest"},
	{"Saint Louis", geo.Deg(38.63, -90.20), "midwest"},
	{"Kansas City", geo.Deg(39.10, -94.58), "midwest"},
	{"Dallas", geo.Deg(32.78, -96.80), "texas"},
	{"Houston", geo.Deg(29.76, -95.37), "texas"},
	{"Austin", geo.Deg(30.27, -97.74), "texas"},
	{"Denver", geo.Deg(39.74, -104.99), "rockies"},
	{"Phoenix", geo.Deg(33.45, -112.07), "west"},
	{"Los Angeles", geo.Deg(34.05, -118.24), "west"},
	{"San Francisco", geo.Deg(37.77, -122.42), "west"},
	{"Seattle", geo.Deg(47.61, -122.33), "northwest"},
	{"Vancouver", geo.Deg(49.28, -123.12), "northwest"},
	{"Mexico City", geo.Deg(19.43, -99.13), "mexico"},
	{"Guadalajara", geo.Deg(20.67, -103.35), "mexico"},
	{"Bogota", geo.Deg(4.71, -74.07), "colombia"},
	{"Lima", geo.Deg(-12.05, -77.04), "peru"},
	{"Santiago", geo.Deg(-33.45, -70.67), "chile"},
	{"Buenos Aires", geo.Deg(-34.60, -58.38), "argentina"},
	{"Rosario", geo.Deg(-32.95, -60.64), "argentina"},
	{"Sao Paulo", geo.Deg(-23.55, -46.63), "brazil"},
	{"Rio de Janeiro", geo.Deg(-22.91, -43.17), "brazil"},
}

// lanes are ways over water from one port's approach to another's.
var lanes = [][][2]float64{
	{{40.4, -73.7}, {40.5, -69}, {42, -50}, {48.5, -10}, {49.6, -4}, {50.2, -0.5}, {51.1, 1.6}, {52.0, 3.6}},                                                          // New York, Rotterdam
	{{52.0, 3.6}, {53.2, 4.0}, {54.0, 6.0}, {54.0, 8.1}},                                                                                                              // Rotterdam, Hamburg
	{{38.4, -9.8}, {36.7, -9.2}, {35.95, -6.0}, {36.0, -5.2}, {36.2, -2}, {37.4, 3}, {37.6, 9.5}, {37.4, 11.2}, {36.4, 13.6}, {35.6, 15.5}, {33.5, 25}, {31.8, 32.2}}, // Lisbon, Port Said
	{{29.6, 32.5}, {27.9, 33.7}, {20, 38.2}, {13.5, 42.5}, {12.5, 43.3}, {12.0, 45}, {13.5, 52}, {18.7, 72.4}},                                                        // Suez, Mumbai
	{{18.7, 72.4}, {14, 73}, {7.0, 77.0}, {5.6, 80.5}, {6.3, 94.5}, {5.5, 98}, {3.2, 100.5}, {1.9, 102.2}, {1.15, 103.6}},                                             // Mumbai, Singapore
	{{1.3, 104.5}, {8, 110.5}, {15, 113}, {21.8, 114.4}},                                                                                                              // Singapore, Hong Kong
	{{21.9, 114.6}, {22.2, 115.5}, {24.6, 119.3}, {28, 122.5}, {31.2, 122.6}},                                                                                         // Hong Kong, Shanghai
	{{31.2, 122.6}, {32.6, 127.5}, {34.8, 129.0}},                                                                                                                     // Shanghai, Busan
	{{34.8, 139.8}, {34.6, 140.8}, {33.9, -121.0}, {33.6, -118.4}},                                                                                                    // Tokyo, Los Angeles
	{{21.2, -157.9}, {33.6, -118.6}},                                                                                                                                  // Honolulu, Los Angeles
	{{-24.2, -46.2}, {-23.3, -41.5}, {-18, -37}, {-8, -34.2}, {12, -27}, {31, -20.5}, {36.5, -12}, {38.3, -9.9}},                                                      // Santos, Lisbon
	{{-35.2, -56.0}, {-35.8, -53.5}, {-30, -47.5}, {-25, -45.2}, {-24.2, -46.2}},                                                                                      // Montevideo, Santos
	{{-34.3, 18.0}, {-35.4, 20}, {-34.8, 25.5}, {-33.6, 28.6}, {-29.9, 31.4}},                                                                                         // Cape Town, Durban
	{{59.2, 19.8}, {57.5, 20}, {55.5, 17.5}, {54.9, 16.0}, {54.8, 13.6}, {54.45, 12.0}},                                                                               // Stockholm, Rostock
	{{-33.9, 151.6}, {-37.8, 150.4}, {-39.4, 146.5}, {-38.6, 144.7}},                                                                                                  // Sydney, Melbourne
	{{28.9, -94.5}, {24.3, -83.5}, {24.2, -81.5}, {25.6, -79.9}},                                                                                                      // Houston, Miami
	{{25.6, -79.9}, {32, -78.5}, {35.0, -74.9}, {40.3, -73.7}},                                                                                                        // Miami, New York
}
